#!/usr/bin/env bash
# npm cockatiel 4.0.0: a retry policy that waits for its next attempt misses an abort,
# and calls the function once more after the caller got its answer.
#
# A payment is to be tried up to four times, two seconds apart, within one second in
# all: wrap(timeout, retry). The first call fails at once. One
# would expect no call after the time-out, for the retry policy has the signal, and
# its readme says that it stops when cancellation is requested. Seen: the caller gets
# "timed out" after one second, and the second call is made after two, and its
# result goes to nobody. With an AbortSignal and no time-out it is the same, and execute
# then returns the result of a call made after the abort. p-retry 6.2.1 (used for
# comparison) ends its wait at the abort and makes no further call.
#
# Needs Node.js, npm and the npm registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts cockatiel@4.0.0 p-retry@6.2.1 >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >pay.mjs <<'JS'
import { ConstantBackoff, TimeoutStrategy, handleAll, retry, timeout, wrap } from "cockatiel";
import pRetry from "p-retry";

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// run has f pay until it gives an answer, and counts the calls before and after that.
async function run(name, f) {
  let calls = 0, aborted = false;
  const pay = async (context) => {
    calls++;
    aborted = context?.signal?.aborted ?? false;
    if (calls === 1) throw new Error("503");
    return "paid";
  };
  let answer;
  try {
    answer = await f(pay);
  } catch (e) {
    answer = e.message;
  }
  const before = calls;
  await sleep(2500);
  console.log(`${name}: the caller gets "${answer}" after ${before} call(s); ${calls - before} more later` +
    (aborted ? ", called with an aborted signal" : ""));
}

const policy = retry(handleAll, { maxAttempts: 3, backoff: new ConstantBackoff(2000) });
await run("time-out", (pay) => wrap(timeout(1000, TimeoutStrategy.Aggressive), policy).execute(pay));
await run("abort", (pay) => policy.execute(pay, AbortSignal.timeout(1000)));
await run("p-retry", (pay) => pRetry(() => pay(), {
  retries: 3, factor: 1, minTimeout: 2000, randomize: false, signal: AbortSignal.timeout(1000),
}));
JS
node pay.mjs | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
time-out: the caller gets "Operation timed out after 1000ms" after 1 call(s); 1 more later, called with an aborted signal
abort: the caller gets "paid" after 2 call(s); 0 more later, called with an aborted signal
p-retry: the caller gets "The operation was aborted due to timeout" after 1 call(s); 0 more later
WANT
