#!/usr/bin/env bash
# dynamoose 4.2.0 (a DynamoDB mapper for Node): batchGet drops each item whose key has a
# Date, though DynamoDB sends it.
#
# A Date may be a range key; it is stored as a number, and a key names it by that number:
# get finds a payment so, and gives its time as a Date (given a Date as key, it throws).
# batchGet sends the keys, gets the items, makes Dates of their numbers, and then picks
# for each key the item whose attributes are === it. A Date is never === a number. One
# would expect the payments that get and query find. Seen: an empty array, and no
# unprocessedKeys, which is what is said of items that do not exist. For the same model
# with a Number as range key, batchGet finds both.
#
# https://dynamoosejs.com/guide/Schema (Date is stored as DynamoDB's type Number)
# Needs Node 20 or newer, and npm (dynalite stands in for DynamoDB, on a port of its own
# choice). Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund dynamoose@4.2.0 dynalite@4.0.0 >/dev/null
cat >batch.mjs <<'JS'
import dynalite from "dynalite";
import dynamoose from "dynamoose";

const server = dynalite({ createTableMs: 0 });
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
dynamoose.aws.ddb.set(new dynamoose.aws.ddb.DynamoDB({
  endpoint: `http://127.0.0.1:${server.address().port}`, region: "us-east-1",
  credentials: { accessKeyId: "x", secretAccessKey: "x" },
}));
const times = [1_700_000_000_000, 1_700_000_001_000];
for (const type of [Number, Date]) {
  const Payment = dynamoose.model(`PaymentsBy${type.name}`, new dynamoose.Schema({
    shop: { type: String, hashKey: true }, at: { type, rangeKey: true }, amount: Number,
  }));
  const keys = times.map((at) => ({ shop: "s", at }));
  for (const { shop, at } of keys) await Payment.create({ shop, at: type === Date ? new Date(at) : at, amount: 20 });
  const single = await Promise.all(keys.map((key) => Payment.get(key)));
  const queried = await Payment.query("shop").eq("s").exec();
  const batch = await Payment.batchGet(keys);
  console.log(`${type.name}: get ${single.filter(Boolean).length}, query ${queried.length},`,
    `batchGet ${batch.length} and ${batch.unprocessedKeys.length} unprocessed`);
}
process.exit();
JS
node batch.mjs 2>warnings | tee seen
diff seen - <<'WANT' && echo "still so" || { cat warnings; echo "no longer so"; exit 1; }
Number: get 2, query 2, batchGet 2 and 0 unprocessed
Date: get 2, query 2, batchGet 0 and 0 unprocessed
WANT
