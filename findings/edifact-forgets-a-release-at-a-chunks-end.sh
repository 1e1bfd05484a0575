#!/usr/bin/env bash
# edifact 1.2.12 (npm, node-edifact): a release character at the end of a chunk is
# forgotten, and the separator that it released cuts the text.
#
# The README calls it a streaming parser, which data is written to piece by piece.
# An order of more than 64 KiB, whose article numbers have a plus (AB?+1), is read
# with fs.createReadStream, whose chunks are 64 KiB. One would expect what the
# parser gives for the file in one piece. Seen: where ? is a chunk's last byte, the
# line has two article numbers, AB and 1, in place of AB+1, and no error is raised.
# The other lines are right, and so is the count of segments. Chunks come as the
# file or the network has them: whether an order is read right depends on its
# length. ts-edifact 0.0.14, which came from it, does the same.
#
# ISO 9735: the character after the release character is text.
# Needs Node and the npm registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund edifact@1.2.12 >/dev/null
cat >read.js <<'JS'
const fs = require('fs')
const { Parser } = require('edifact')

// The parser's events, gathered as its README does it.
function reader () {
  const parser = new Parser()
  const segments = []
  let elements, components
  parser.on('opensegment', name => { elements = []; segments.push({ name, elements }) })
  parser.on('element', () => { components = []; elements.push(components) })
  parser.on('component', value => components.push(value))
  return { parser, segments }
}

const head = "UNA:+.? 'UNB+UNOC:3+SHOP+ORDERSAGA+261130:0100+1'UNH+1+ORDERS:D:96A:UN'BGM+220+PO-1+9'"
const line = n => `LIN+${n}'PIA+5+AB?+1:SA'QTY+21:5'`
let lines = ''
let n = 0
while (head.length + lines.length < 65536 - 200) lines += line(++n)
// A remark, so long that the next line's release character is byte 65536. Its
// components have 70 characters at most.
const before = `LIN+${n + 1}'PIA+5+AB?`
const remark = 65536 - head.length - lines.length - before.length - "FTX+AAI+++'".length
const text = 'X'.repeat(remark).replace(/X{71}/g, x => x.slice(1) + ':')
lines += `FTX+AAI+++${text}'` + line(n + 1) + line(n + 2)
fs.writeFileSync('order.edi', `${head}${lines}UNS+S'UNT+${3 * (n + 2) + 5}+1'UNZ+1+1'`)

const show = (how, { segments }) => {
  const articles = segments.filter(s => s.name === 'PIA').map(s => JSON.stringify(s.elements.slice(1)))
  const counts = {}
  for (const a of articles) counts[a] = (counts[a] || 0) + 1
  console.log(`${how}: ${segments.length} segments, articles`, counts)
  return Object.keys(counts).join()
}
const whole = reader()
whole.parser.write(fs.readFileSync('order.edi', 'latin1'))
whole.parser.end()
const right = show('in one piece', whole)
const pieces = reader()
fs.createReadStream('order.edi', 'latin1').on('data', chunk => pieces.parser.write(chunk)).on('end', () => {
  pieces.parser.end()
  const wrong = show('as a stream', pieces)
  if (right !== '[["AB+1","SA"]]' || wrong !== '[["AB+1","SA"]],[["AB"],["1","SA"]]' || pieces.segments.length !== whole.segments.length) {
    console.log('no longer so')
    process.exit(1)
  }
})
JS
node read.js
