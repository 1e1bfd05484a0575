#!/usr/bin/env bash
# @aws-lambda-powertools/jmespath 2.35.0 (TypeScript): the functions map and not_null
# give null for 0, false and "".
#
# JMESPath is the language of Powertools' envelopes and idempotency keys. Its
# specification: map gives, for each element, what the expression gives; not_null gives
# the first argument that is not null. An order has a line with 0 left to send, one that
# is no gift, and shipping for 0. One would expect 0 and false, as the packages for
# Python (jmespath 1.1.0, which Powertools for Python uses) and JavaScript (jmespath
# 0.16.0) give. Seen: null. not_null(shipping, `5`) is neither 0 nor 5, but null. A
# projection, lines[*].left, gives the 0. Also seen: sort and reverse turn around the
# array in the event itself, so a handler gets it in another order than it was sent.
#
# https://jmespath.org/specification.html#map, #not-null
# Needs Node 20 or newer with npm, Python 3 with venv, and PyPI.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check jmespath==1.1.0 >/dev/null
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @aws-lambda-powertools/jmespath@2.35.0 jmespath@0.16.0 >/dev/null
cat >order.json <<'JSON'
{"shipping": 0, "note": "", "history": ["placed", "held", "paid"],
 "lines": [{"left": 2, "gift": true}, {"left": 0, "gift": false}]}
JSON
cat >ask.json <<'JSON'
["lines[*].left", "map(&left, lines)", "map(&gift, lines)", "not_null(shipping, `5`)", "not_null(note, 'none')", "sort(history)"]
JSON
cat >ask.mjs <<'JS'
import { readFileSync } from "node:fs";
import { search } from "@aws-lambda-powertools/jmespath";
import jmespath from "jmespath";

const read = (file) => JSON.parse(readFileSync(file));
const ways = { powertools: search, javascript: (query, data) => jmespath.search(data, query) };
for (const [name, ask] of Object.entries(ways)) {
  const order = read("order.json");
  for (const query of read("ask.json")) console.log(`${name}: ${query} = ${JSON.stringify(ask(query, order))}`);
  console.log(`${name}: the event's history is now ${JSON.stringify(order.history)}`);
}
JS
cat >ask.py <<'PY'
import json, jmespath

order = json.load(open("order.json"))
dump = lambda value: json.dumps(value, separators=(",", ":"))
for query in json.load(open("ask.json")):
    print(f"python: {query} = {dump(jmespath.search(query, order))}")
print(f"python: the event's history is now {dump(order['history'])}")
PY
{ node ask.mjs && env/bin/python ask.py; } | tee seen
for name in powertools javascript python; do
	sed -n "s/^$name: //p" seen >$name
done
cmp javascript python && diff powertools - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
lines[*].left = [2,0]
map(&left, lines) = [2,null]
map(&gift, lines) = [true,null]
not_null(shipping, `5`) = null
not_null(note, 'none') = null
sort(history) = ["held","paid","placed"]
the event's history is now ["held","paid","placed"]
WANT
