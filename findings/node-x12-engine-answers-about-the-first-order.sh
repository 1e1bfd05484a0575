#!/usr/bin/env bash
# node-x12 1.7.1 (npm): a query engine that is used for a second order answers
# with the first order's values.
#
# One X12QueryEngine(false), not strict, is asked for BEG03, the order number, of
# two 850 documents, one call each, each document a string of its own. One would
# expect PO-1001 and then PO-1002: query's and querySingle's first parameter is
# the document. Seen: querySingle gives PO-1001 both times. A query of the second
# order's quantities after that gives the first order's too, and the second's
# twice, for it was parsed twice. A new engine for each order gives the right
# answers. The engine keeps one parser, and the parser keeps its interchange: what
# it parses is added there (only its diagnostics are emptied). X12Parser.parse
# alone does it too. A strict engine, the default, fails with a TypeError at its
# second document.
#
# The README ("Fat EDI Documents") says that documents are merged of one string
# with several documents, not of several calls.
# Needs Node and the npm registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund node-x12@1.7.1 >/dev/null
cat >ask.js <<'JS'
const { X12QueryEngine, X12Parser } = require('node-x12')

// An order of one line, in an interchange of its own.
function order (n, number, quantity) {
  const control = String(n).padStart(9, '0')
  return [
    'ISA', '00', ' '.repeat(10), '00', ' '.repeat(10), 'ZZ', 'SHOP'.padEnd(15), 'ZZ', 'ORDERSAGA'.padEnd(15),
    '261130', '0100', 'U', '00401', control, '0', 'P', '>'
  ].join('*') + '~' + [
    `GS*PO*SHOP*ORDERSAGA*20261130*0100*${n}*X*004010`, 'ST*850*0001', `BEG*00*NE*${number}**20261130`,
    `PO1*1*${quantity}*EA*9.99**VN*AAA`, 'CTT*1', 'SE*5*0001', `GE*1*${n}`, `IEA*1*${control}`
  ].join('~') + '~'
}

const [first, second] = [order(1, 'PO-1001', 5), order(2, 'PO-1002', 70)]
const number = (engine, document) => engine.querySingle(document, 'BEG03').value
const one = new X12QueryEngine(false)
console.log('a new engine for each:', number(new X12QueryEngine(false), first), number(new X12QueryEngine(false), second))
console.log('one engine for both:', number(one, first), number(one, second))
console.log('quantities in the second order:', one.query(second, 'PO102').map(r => r.value).join(' '))
const parser = new X12Parser(false)
console.log('groups in what one parser gives:', parser.parse(first).functionalGroups.length, parser.parse(second).functionalGroups.length)
JS
node ask.js | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
a new engine for each: PO-1001 PO-1002
one engine for both: PO-1001 PO-1001
quantities in the second order: 5 70 70
groups in what one parser gives: 1 2
WANT
