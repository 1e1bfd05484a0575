#!/usr/bin/env bash
# @aws-lambda-powertools/idempotency 2.35.0 (TypeScript): with a key made of several
# fields, all orders that have none of them count as one: the first is charged, and
# the others get its answer.
#
# The idempotency key is a JMESPath expression. Two orders come without a key, of 10
# and of 20. Both Powertools, for TypeScript and for Python, take an order without a
# key as not idempotent (issue 1501 of the first, 2465 of the second), unless they are
# told to throw. With the key "orderId" that is so in both. One would expect the same
# of "[orderId, shop]", which is how the documentation makes a key of two fields. Seen:
# in TypeScript the list [null, null] is warned of as "No value found", yet is hashed
# and stored, so the order of 20 is never charged and is answered with the 10 of the
# first. Python (3.37.0) charges both.
#
# Needs Node 20 or newer with npm, Python 3 with venv, and PyPI; a table in memory
# stands for the store. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir" @aws-lambda-powertools/idempotency@2.35.0 @aws-lambda-powertools/jmespath@2.36.0 >/dev/null
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0 boto3==1.44.5 jmespath==1.1.0 redis==6.4.0 >/dev/null
cat >orders.mjs <<'JS'
import { makeIdempotent, IdempotencyConfig } from '@aws-lambda-powertools/idempotency';
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';

process.env.AWS_LAMBDA_FUNCTION_NAME = 'charge';
console.warn = () => {};
for (const path of ['orderId', '[orderId, shop]', '{order: orderId, shop: shop}']) {
  const table = new Map();
  const client = {
    get: async (k) => table.get(k) ?? null,
    set: async (k, v, o) => (o?.NX && table.has(k) ? null : (table.set(k, v), 'OK')),
    del: async (ks) => [ks].flat().filter((k) => table.delete(k)).length,
  };
  const charge = makeIdempotent(async (order) => order.amount, {
    persistenceStore: new CachePersistenceLayer({ client }), config: new IdempotencyConfig({ eventKeyJmesPath: path }),
  });
  const seen = [await charge({ amount: 10 }), await charge({ amount: 20 })];
  console.log(`TypeScript ${path}: charged ${seen.join(', ')}`);
}
JS
cat >orders.py <<'PY'
import os, warnings
warnings.simplefilter("ignore")
os.environ.update(AWS_LAMBDA_FUNCTION_NAME="charge")
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer

class Table(dict):
    def set(self, name, value, ex=None, nx=False):
        return None if nx and name in self else not self.update({name: value})

    def delete(self, name):
        self.pop(name, None)

for path in "orderId", "[orderId, shop]", "{order: orderId, shop: shop}":
    @idempotent_function(data_keyword_argument="order", persistence_store=CachePersistenceLayer(client=Table()),
                         config=IdempotencyConfig(event_key_jmespath=path))
    def charge(order):
        return order["amount"]
    print(f"Python {path}: charged {charge(order={'amount': 10})}, {charge(order={'amount': 20})}")
PY
{ node orders.mjs; env/bin/python orders.py; } | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
TypeScript orderId: charged 10, 20
TypeScript [orderId, shop]: charged 10, 10
TypeScript {order: orderId, shop: shop}: charged 10, 10
Python orderId: charged 10, 20
Python [orderId, shop]: charged 10, 20
Python {order: orderId, shop: shop}: charged 10, 20
WANT
