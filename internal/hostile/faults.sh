#!/usr/bin/env bash
# Applies each fault of testdata/faults in turn to a copy of this checkout, and expects that a
# seed fails. A patch begins with the change that it reverts, a part of the expected failure, and
# the first seed and the number of seeds to run. Arguments select faults by name.
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
    echo "$name: the patch does not fit any more"
    failed=1
    continue
  fi
  (cd "$copy/tree" && go test -count=1 -timeout 10m ./internal/hostile -run 'TestHostile$' -from "$from" -seeds "$count") >"$copy/out" 2>&1
  said=$(awk -v says="$(sed -n 's/^says: //p' "$patch")" '
    / seed [0-9]+ \(/ { seed = $0; sub(/.* seed /, "", seed); sub(/ .*/, "", seed) }
    /^ *what was said/ { seed = "" }
    seed && $0 ~ says { sub(/^ */, ""); print "seed " seed ": " $0; exit }' "$copy/out")
  if [ -n "$said" ]; then
    echo "$name: $said"
  else
    echo "$name: no seed says so"
    grep -hE '^(FAIL|ok|panic)' "$copy/out"
    failed=1
  fi
done
exit "$failed"
