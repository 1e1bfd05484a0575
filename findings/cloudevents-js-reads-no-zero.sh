#!/usr/bin/env bash
# cloudevents 10.0.0 (the CloudEvents SDK for JavaScript): a stock level of 0 that comes
# in structured mode is read as an event without data.
#
# An event's data may be any JSON value. The same levels, 7 and 0, come in structured,
# batched and binary mode, and are read with HTTP.toEvent. One would expect the same
# number each time, as the SDK for Python (cloudevents 2.2.0) reads it. Seen: in
# structured mode 0, false and "" become undefined, and an event that is passed on has
# no data at all; the batch, parsed by another path, keeps them. In binary mode the
# numbers are strings, "7" and "0", so that "10" is less than "7".
#
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
# (3.1: a data member holds any JSON value, if present)
# Needs Node 20 or newer with npm, Python 3.10 or newer with venv, and PyPI.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir" cloudevents@10.0.0 >/dev/null
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0 >/dev/null
cat >levels.mjs <<'JS'
import { HTTP } from 'cloudevents';

const attributes = { specversion: '1.0', id: 'e-1', source: '/stock', type: 'level', time: '2026-01-02T03:04:05Z', datacontenttype: 'application/json' };
const read = (type, body, more) => HTTP.toEvent({ headers: { 'content-type': type, ...more }, body: JSON.stringify(body) });
const show = (v) => (v === undefined ? 'nothing' : JSON.stringify(v));
for (const data of [7, 0, false, '']) {
  const one = read('application/cloudevents+json', { ...attributes, data });
  const [batched] = read('application/cloudevents-batch+json', [{ ...attributes, data }]);
  const binary = read('application/json', data, { 'ce-specversion': '1.0', 'ce-id': 'e-1', 'ce-source': '/stock', 'ce-type': 'level' });
  const passedOn = 'data' in JSON.parse(HTTP.structured(one).body);
  console.log(`JavaScript ${show(data)}: structured ${show(one.data)}, passed on ${passedOn ? 'with' : 'without'} data, batch ${show(batched.data)}, binary ${show(binary.data)}`);
}
JS
cat >levels.py <<'PY'
import json
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
attributes = {"specversion": "1.0", "id": "e-1", "source": "/stock", "type": "level", "datacontenttype": "application/json"}
ce = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/stock", "ce-type": "level", "content-type": "application/json"}
for data in 7, 0, False, "":
    one = from_http_event(HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps({**attributes, "data": data}).encode()))
    binary = from_http_event(HTTPMessage(ce, json.dumps(data).encode()))
    print(f"Python {json.dumps(data)}: structured {json.dumps(one.get_data())}, binary {json.dumps(binary.get_data())}")
PY
{ node levels.mjs; env/bin/python levels.py; } | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
JavaScript 7: structured 7, passed on with data, batch 7, binary "7"
JavaScript 0: structured nothing, passed on without data, batch 0, binary "0"
JavaScript false: structured nothing, passed on without data, batch false, binary "false"
JavaScript "": structured nothing, passed on without data, batch "", binary ""
Python 7: structured 7, binary 7
Python 0: structured 0, binary 0
Python false: structured false, binary false
Python "": structured "", binary ""
WANT
