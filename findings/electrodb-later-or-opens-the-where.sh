#!/usr/bin/env bash
# electrodb 3.9.3 (a DynamoDB mapper for Node): where clauses that are chained are not
# all met if a later one has an OR; a write that should be refused goes through.
#
# The documentation: where clauses that are chained are joined by an implicit AND. A
# clause is a function, which may be kept in one place and used in many. A worker that
# has read version 3 of a paid order cancels it, where the version is 3, and where the
# status is placed OR paid; the order is in version 4. One would expect the write to be
# refused. Seen: it is written, for the condition is "(version) AND placed OR paid", and
# AND binds tighter than OR. With the two clauses in the other order it is refused. A
# query for what is due, and is placed OR marked as a gift, should find order 3. Seen:
# also order 1, which is not due; and with the OR first, order 2, for a clause that ends
# with a function's ")" is taken as one that has its parentheses.
#
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
# (precedence: NOT, AND, OR) Needs Node 20 or newer, and npm (dynalite stands in for
# DynamoDB, on a port of its own choice). Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund electrodb@3.9.3 dynalite@4.0.0 @aws-sdk/client-dynamodb@3.1169.0 >/dev/null
cat >where.mjs <<'JS'
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { Entity } from "electrodb";

const server = dynalite({ createTableMs: 0 });
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const client = new DynamoDBClient({
  endpoint: `http://127.0.0.1:${server.address().port}`, region: "us-east-1",
  credentials: { accessKeyId: "x", secretAccessKey: "x" },
});
await client.send(new CreateTableCommand({
  TableName: "shop", BillingMode: "PAY_PER_REQUEST",
  KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
  AttributeDefinitions: ["pk", "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
}));
const string = { type: "string" }, number = { type: "number" };
const Order = new Entity({
  model: { entity: "order", version: "1", service: "shop" },
  attributes: { shop: string, id: string, status: string, notes: string, version: number, due: number },
  indexes: { orders: { pk: { field: "pk", composite: ["shop"] }, sk: { field: "sk", composite: ["id"] } } },
}, { table: "shop", client });
await Order.put({ shop: "s", id: "1", status: "paid", notes: "gift", version: 4, due: 0 }).go();
await Order.put({ shop: "s", id: "2", status: "placed", notes: "", version: 1, due: 0 }).go();
await Order.put({ shop: "s", id: "3", status: "placed", notes: "", version: 1, due: 20 }).go();

const isVersion3 = ({ version }, { eq }) => eq(version, 3);
const isOpen = ({ status }, { eq }) => `${eq(status, "placed")} OR ${eq(status, "paid")}`;
const isDue = ({ due }, { gt }) => gt(due, 0);
const isNewOrGift = ({ status, notes }, { eq, contains }) => `${eq(status, "placed")} OR ${contains(notes, "gift")}`;

async function cancel(what, ...clauses) {
  let write = Order.update({ shop: "s", id: "1" }).set({ status: "cancelled" });
  for (const clause of clauses) write = write.where(clause);
  const said = await write.go().then(() => "written", (error) => error.cause.name);
  const { data } = await Order.get({ shop: "s", id: "1" }).go();
  console.log(`${what}: ${said}; version ${data.version} is ${data.status}`);
}
async function query(what, first, second) {
  const { data } = await Order.query.orders({ shop: "s" }).where(first).where(second).go();
  console.log(`${what}: ${data.map((order) => order.id).join(" and ")}`);
}
await query("due, new or gift", isDue, isNewOrGift);
await query("new or gift, due", isNewOrGift, isDue);
await cancel("open, version 3", isOpen, isVersion3);
await cancel("version 3, open", isVersion3, isOpen);
process.exit();
JS
node where.mjs 2>warnings | tee seen
diff seen - <<'WANT' && echo "still so" || { cat warnings; echo "no longer so"; exit 1; }
due, new or gift: 1 and 3
new or gift, due: 2 and 3
open, version 3: ConditionalCheckFailedException; version 4 is paid
version 3, open: written; version 4 is cancelled
WANT
