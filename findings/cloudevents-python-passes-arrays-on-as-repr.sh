#!/usr/bin/env bash
# cloudevents 2.2.0 (the CloudEvents SDK for Python): an event whose data is a JSON
# array leaves in binary mode as Python's own notation, which is not JSON.
#
# An event comes over HTTP with content type application/json and an order's lines, a
# JSON array. It is read with from_http_event and passed on with to_binary_event. One
# would expect JSON to leave, as it does for an object, in structured mode, and with
# the older API that the same package keeps (cloudevents.v1). Seen: the body has single
# quotes, True and None; the content type is still application/json. The next hop of
# the same SDK reads it, without an error, as one string. JSON's true leaves as True,
# and the string "42" as the number 42.
#
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
# (3.1.2: the body is the data, encoded as datacontenttype says)
# Needs Python 3.10 or newer with venv, and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0 >/dev/null
cat >relay.py <<'PY'
import json, warnings
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
warnings.simplefilter("ignore")
from cloudevents.v1 import http as older

headers = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/shop", "ce-type": "order.lines",
           "content-type": "application/json"}

def is_json(body):
    try:
        return json.dumps(json.loads(body))
    except ValueError:
        return "not JSON"

for body in b'{"sku": "a-1", "gift": true}', b'[{"sku": "a-1", "gift": true, "note": null}]', b"true", b'"42"':
    event = from_http_event(HTTPMessage(headers, body))
    out = to_binary_event(event)
    again = from_http_event(out).get_data()
    print("in:", body.decode())
    print("  binary:", out.body.decode(), "as", out.headers["content-type"])
    print("  read as JSON:", is_json(out.body))
    print("  read by the same SDK:", type(again).__name__)
    print("  structured:", json.dumps(json.loads(to_structured_event(event).body)["data"]))
    print("  older API:", older.to_binary(older.from_http(headers, body))[1].decode())
PY
env/bin/python relay.py | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
in: {"sku": "a-1", "gift": true}
  binary: {"sku": "a-1", "gift": true} as application/json
  read as JSON: {"sku": "a-1", "gift": true}
  read by the same SDK: dict
  structured: {"sku": "a-1", "gift": true}
  older API: {"sku": "a-1", "gift": true}
in: [{"sku": "a-1", "gift": true, "note": null}]
  binary: [{'sku': 'a-1', 'gift': True, 'note': None}] as application/json
  read as JSON: not JSON
  read by the same SDK: str
  structured: [{"sku": "a-1", "gift": true, "note": null}]
  older API: [{"sku": "a-1", "gift": true, "note": null}]
in: true
  binary: True as application/json
  read as JSON: not JSON
  read by the same SDK: str
  structured: true
  older API: true
in: "42"
  binary: 42 as application/json
  read as JSON: 42
  read by the same SDK: int
  structured: "42"
  older API: "42"
WANT
