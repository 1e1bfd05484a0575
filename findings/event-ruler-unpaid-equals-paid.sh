#!/usr/bin/env bash
# software.amazon.event.ruler:event-ruler 2.1.0 (the matcher that AWS made for
# EventBridge, as a library): after a rule whose wildcard begins with "*" was added,
# {"equals-ignore-case": "paid"} matches "unpaid".
#
# A machine holds rules and tells which of them match an event; each stands for itself.
# Three look at the same field, status: returned, {"wildcard": "*-returned"}; ship,
# {"equals-ignore-case": "paid"}; remind, {"anything-but": {"equals-ignore-case":
# ["paid"]}}. One would expect that an unpaid order is reminded of, as each rule alone
# says. Seen: if the rule with the wildcard was added first, the machine says ship, and
# not remind: any status that ends in "paid" is taken as paid. That stays so when the
# rule with the wildcard is deleted again. Added in the other order, the same rules
# give the right answers.
#
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
# (equals-ignore-case: the value as a whole, whatever its case). The library was asked,
# not the service. Needs a JDK, 17 or newer, Maven, and Maven Central.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>example</groupId><artifactId>rules</artifactId><version>1</version><dependencies><dependency>
<groupId>software.amazon.event.ruler</groupId><artifactId>event-ruler</artifactId><version>2.1.0</version>
</dependency></dependencies></project>
XML
mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }
cat >Rules.java <<'JAVA'
import java.util.*;
import software.amazon.event.ruler.*;

public class Rules {
    static final Map<String, String> RULES = Map.of(
        "returned", "{\"status\": [{\"wildcard\": \"*-returned\"}]}",
        "ship", "{\"status\": [{\"equals-ignore-case\": \"paid\"}]}",
        "remind", "{\"status\": [{\"anything-but\": {\"equals-ignore-case\": [\"paid\"]}}]}");

    static Machine with(String... names) throws Exception {
        Machine m = Machine.builder().build();
        for (String n : names) m.addRule(n, RULES.get(n));
        return m;
    }

    static void say(String what, Machine m) throws Exception {
        List<String> said = new ArrayList<>();
        for (String status : List.of("paid", "unpaid", "all-returned"))
            said.add(status + " " + new TreeSet<>(m.rulesForJSONEvent("{\"status\": \"" + status + "\"}")));
        System.out.println(what + ": " + String.join(", ", said));
    }

    public static void main(String[] args) throws Exception {
        say("wildcard added last", with("ship", "remind", "returned"));
        Machine m = with("returned", "ship", "remind");
        say("wildcard added first", m);
        m.deleteRule("returned", RULES.get("returned"));
        say("wildcard deleted again", m);
        say("ship alone", with("ship"));
        say("remind alone", with("remind"));
    }
}
JAVA
javac -Xlint:deprecation -cp 'lib/*' Rules.java
java -cp 'lib/*:.' Rules | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
wildcard added last: paid [ship], unpaid [remind], all-returned [remind, returned]
wildcard added first: paid [ship], unpaid [ship], all-returned [remind, returned]
wildcard deleted again: paid [ship], unpaid [ship], all-returned [remind]
ship alone: paid [ship], unpaid [], all-returned []
remind alone: paid [], unpaid [remind], all-returned [remind]
WANT
