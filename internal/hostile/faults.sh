#!/usr/bin/env bash
# Applies each fault of testdata/faults in turn to a copy of this checkout, and expects that a
# seed fails. A patch starts with a description, then "expect:", a regular expression for the
# violation, then "seeds:", the first seed and the number of seeds to run. Arguments select
# faults by name.
set -uo pipefail
cd "$(dirname "$0")/../.."
here=internal/hostile/testdata/faults
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0
for patch in "$here"/*.patch; do
  name=$(basename "$patch" .patch)
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  rm -rf "$copy/tree" && mkdir "$copy/tree"
  git ls-files -z | xargs -0 cp --parents -t "$copy/tree"
  read -r from count < <(sed -n 's/^seeds: //p' "$patch")
  if ! (cd "$copy/tree" && patch -p1 --quiet) <"$patch" || ! (cd "$copy/tree" && go vet ./internal/hostile); then
    echo "$name: the patch cannot be applied"
    failed=1
    continue
  fi
  (cd "$copy/tree" && go test -count=1 -timeout 10m ./internal/hostile -run 'TestHostile$' -from "$from" -seeds "$count") >"$copy/out" 2>&1
  violation=$(awk -v expected="$(sed -n 's/^expect: //p' "$patch")" '
    / seed [0-9]+ \(/ { seed = $0; sub(/.* seed /, "", seed); sub(/ .*/, "", seed) }
    /^ *exchanges about/ { seed = "" }
    seed && $0 ~ expected { sub(/^ */, ""); print "seed " seed ": " $0; exit }' "$copy/out")
  if [ -n "$violation" ]; then
    echo "$name: $violation"
  else
    echo "$name: no seed has the expected violation"
    grep -hE '^(FAIL|ok|panic)' "$copy/out"
    failed=1
  fi
done
exit "$failed"
