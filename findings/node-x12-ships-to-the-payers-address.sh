#!/usr/bin/env bash
# node-x12 1.7.1 (npm): the README's map for a ship-to address gives the bill-to's
# address when the ship-to is named by its code alone.
#
# The README maps shipto_address to N1-N301:N101["ST"], and city and zip likewise.
# An 850 has N1*ST for a store known by its number, as retailers send it, with no
# N3 and N4; then N1*BT with N3 and N4, the head office. In X12 an N3 and an N4
# belong to the N1 before them (loop N1 of the 850). One would expect no address,
# as the same map gives if the bill-to stands first. Seen: the store's name with
# the head office's street, city and zip. A qualifier of another segment's element
# goes back past the nearest N1 until some N1 says ST. For the same reason
# PO1-PID05:PO101["1"], a description of line 1, gives those of all lines after it.
#
# X12 850, release 004010: N3 and N4 are within loop N1, PID within loop PO1.
# Needs Node and the npm registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund node-x12@1.7.1 >/dev/null
cat >map.js <<'JS'
const { X12Parser, X12QueryEngine } = require('node-x12')

function order (...segments) {
  return new X12Parser(true).parse([
    'ISA', '00', ' '.repeat(10), '00', ' '.repeat(10), 'ZZ', 'SHOP'.padEnd(15), 'ZZ', 'ORDERSAGA'.padEnd(15),
    '261130', '0100', 'U', '00401', '000000001', '0', 'P', '>'
  ].join('*') + '~' + [
    'GS*PO*SHOP*ORDERSAGA*20261130*0100*1*X*004010', 'ST*850*0001', 'BEG*00*NE*PO-1**20261130', ...segments,
    `SE*${segments.length + 3}*0001`, 'GE*1*1', 'IEA*1*000000001'
  ].join('~') + '~')
}

const map = {
  name: 'N102:N101["ST"]', address: 'N1-N301:N101["ST"]', city: 'N1-N401:N101["ST"]', zip: 'N1-N403:N101["ST"]'
}
const shipTo = o => JSON.stringify(o.functionalGroups[0].transactions[0].toObject(map))
const store = ['N1*ST*STORE 12*92*0012']
const office = ['N1*BT*HEAD OFFICE*92*0001', 'N3*9 BILL STREET', 'N4*BILLTOWN*NJ*07001']
const lines = ['PO1*1*5*EA*9.99**VN*AAA', 'PID*F****RED', 'PO1*2*1*EA*4.99**VN*BBB', 'PID*F****BLUE', 'CTT*2']
console.log('bill-to first:', shipTo(order(...office, ...store, ...lines)))
console.log('ship-to first:', shipTo(order(...store, ...office, ...lines)))
for (const line of [1, 2]) {
  const found = new X12QueryEngine().query(order(...store, ...office, ...lines), `PO1-PID05:PO101["${line}"]`)
  console.log(`line ${line}:`, found.map(r => r.value).join(' '))
}
JS
node map.js | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
bill-to first: {"name":"STORE 12","address":null,"city":null,"zip":null}
ship-to first: {"name":"STORE 12","address":"9 BILL STREET","city":"BILLTOWN","zip":"07001"}
line 1: RED BLUE
line 2: BLUE
WANT
