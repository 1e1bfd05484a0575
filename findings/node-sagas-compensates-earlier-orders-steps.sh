#!/usr/bin/env bash
# npm node-sagas 0.0.6: a saga that was built once and runs for each order undoes, when
# one order fails, the steps of all orders before it as well, on the order that failed.
#
# A saga has the steps reserve, pay and ship, each with its compensation, and is
# executed for three orders, one after the other. The first succeeds, the second fails
# at ship, the third at pay. execute takes the order, so one would expect a built saga
# to be the plan and each execute to be a run of its own: the second order is refunded
# once and its stock given back once; of the third, only reserve has to be undone. Seen:
# the second order is refunded twice. The third gets eight compensations, six of them
# from the first step to the last, among them three refunds and two returns, of a parcel
# that was neither paid nor shipped. The saga's list of steps to undo is never emptied.
# (That the failed step itself is undone too is the library's way in any case.)
#
# Needs Node.js, npm and the npm registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts node-sagas@0.0.6 >npm.log 2>&1 || { cat npm.log; exit 1; }
cat >order.cjs <<'JS'
const { SagaBuilder } = require("node-sagas");

const builder = new SagaBuilder();
for (const [name, undo] of Object.entries({ reserve: "release", pay: "refund", ship: "return" })) {
  builder.step(name)
    .invoke((order) => {
      if (order.failsAt === name) throw new Error(`${name} failed`);
      order.log.push(name);
    })
    .withCompensation((order) => { order.log.push(undo); });
}
const saga = builder.build();

(async () => {
  for (const order of [{ id: 1 }, { id: 2, failsAt: "ship" }, { id: 3, failsAt: "pay" }]) {
    order.log = [];
    await saga.execute(order).catch((e) => order.log.push(e.constructor.name));
    console.log(`order ${order.id}: ${order.log.join(", ")}`);
  }
})();
JS
node order.cjs | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
order 1: reserve, pay, ship
order 2: reserve, pay, return, refund, release, return, refund, release, SagaExecutionFailed
order 3: reserve, refund, release, release, refund, return, release, refund, return, SagaExecutionFailed
WANT
