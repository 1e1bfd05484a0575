#!/usr/bin/env bash
# digital-link.js 1.4.3 (npm, GS1's SDK) and gs1-compression 0.1.3 (PyPI, a port of the
# same toolkit): a lot or serial number of digits comes out of a compressed GS1 Digital
# Link as another number, which counts as valid.
#
# A link names a product (01) with a lot (10) or a serial number (21). It is compressed
# and read again. One would expect what went in: both toolkits come from GS1's, whose
# README calls its compression reversible; lot and serial are text of up to 20
# characters, and the EPC Tag Data Standard keeps 7 and 007 apart (its SGTIN-96 takes no
# serial with leading zeros for that reason). Seen: digits only, and leading zeros are
# gone: lot 0001234 is read as lot 1234. From 17 digits on the last ones change too: the
# JavaScript side computes with floating point when it writes and when it reads. With one
# letter in it the number survives. GTIN and SSCC have a fixed length and survive.
# In Python alone, long serials survive, and zeros are lost just the same.
#
# Needs Node, npm, Python 3 with venv, and their registries. Ends with status 0 if that
# is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts digital-link.js@1.4.3 >/dev/null
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check gs1-compression==0.1.3
cat >links.txt <<'LINKS'
https://id.example.com/01/09780345418913/10/1234
https://id.example.com/01/09780345418913/10/0001234
https://id.example.com/01/09780345418913/10/L0001234
https://id.example.com/01/09780345418913/21/12345678901234567
https://id.example.com/01/09780345418913/21/98765432109876543210
LINKS
cat >links.js <<'JS'
const { DigitalLink } = require('digital-link.js');
for (const uri of require('fs').readFileSync('links.txt', 'utf8').trim().split('\n')) {
  const short = DigitalLink(uri).toCompressedWebUriString();
  const back = DigitalLink(short);
  const [[ai, value]] = Object.entries(back.getKeyQualifiers());
  console.log(`JavaScript: (${ai}) ${uri.split('/').pop()} is read as ${value}, valid: ${back.isValid()}`);
}
JS
cat >links.py <<'PY'
from gs1 import compress_gs1_digital_link, decompress_gs1_digital_link

for uri in open("links.txt").read().split():
    short = compress_gs1_digital_link(uri)
    ai, value = decompress_gs1_digital_link(short, use_short_text=False).split("/")[-2:]
    print(f"Python: ({ai}) {uri.split('/')[-1]} is read as {value}")
PY
{
	node links.js
	venv/bin/python links.py
} | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
JavaScript: (10) 1234 is read as 1234, valid: true
JavaScript: (10) 0001234 is read as 1234, valid: true
JavaScript: (10) L0001234 is read as L0001234, valid: true
JavaScript: (21) 12345678901234567 is read as 12345678901234568, valid: true
JavaScript: (21) 98765432109876543210 is read as 98765432109876540000, valid: true
Python: (10) 1234 is read as 1234
Python: (10) 0001234 is read as 1234
Python: (10) L0001234 is read as L0001234
Python: (21) 12345678901234567 is read as 12345678901234567
Python: (21) 98765432109876543210 is read as 98765432109876543210
WANT
