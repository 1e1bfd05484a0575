#!/usr/bin/env bash
# github.com/nyaruka/phonenumbers v1.8.1 (Go port of libphonenumber): an Argentine mobile
# number in national format comes without its area code; read again, it is another number.
#
# A courier's label has the customer's number in national format, and the courier's system
# reads it with the country AR. One would expect 011 15-2345-6789 for +54 9 11 2345-6789
# (the 9 of abroad is a 15 after the area code at home), as Google's own tests have it
# (testFormatARNumber) and as phonenumbers 9.0.43, the Python port, prints it, so that both
# read it back as the same number. Seen: Buenos Aires, Salta and La Plata all get "09 15-"
# and the subscriber's digits. The area code is gone, and what is read back is a number
# that is not valid, without an error. The rule for these numbers starts with the second
# group of digits, and the port puts the first one, the 9, behind the 0. Landlines, the
# international format and E.164 are right.
#
# Needs Go, the Go module proxy, Python 3 with venv, pip and PyPI. Ends with status 0 if
# that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module example.com/label

go 1.26

require github.com/nyaruka/phonenumbers v1.8.1
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	p "github.com/nyaruka/phonenumbers"
)

func main() {
	for _, number := range os.Args[1:] {
		n, err := p.Parse(number, "")
		label := p.Format(n, p.NATIONAL)
		read, err2 := p.Parse(label, "AR")
		if err != nil || err2 != nil {
			panic(fmt.Sprint(err, err2))
		}
		fmt.Printf("Go:     %s -> %s -> %s, valid: %t\n", p.Format(n, p.INTERNATIONAL), label, p.Format(read, p.E164), p.IsValidNumber(read))
	}
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check phonenumbers==9.0.43
cat >label.py <<'PY'
import sys

import phonenumbers as p
from phonenumbers import PhoneNumberFormat as F

for number in sys.argv[1:]:
    n = p.parse(number)
    label = p.format_number(n, F.NATIONAL)
    read = p.parse(label, "AR")
    print(f"Python: {p.format_number(n, F.INTERNATIONAL)} -> {label} -> {p.format_number(read, F.E164)},"
          f" valid: {str(p.is_valid_number(read)).lower()}")
PY
numbers="+5491123456789 +5493874123456 +5492215123456 +541123456789"
{ go run . $numbers && venv/bin/python label.py $numbers; } | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
Go:     +54 9 11 2345-6789 -> 09 15-2345-6789 -> +5491523456789, valid: false
Go:     +54 9 387 412-3456 -> 09 15-412-3456 -> +549154123456, valid: false
Go:     +54 9 221 512-3456 -> 09 15-512-3456 -> +549155123456, valid: false
Go:     +54 11 2345-6789 -> 011 2345-6789 -> +541123456789, valid: true
Python: +54 9 11 2345-6789 -> 011 15-2345-6789 -> +5491123456789, valid: true
Python: +54 9 387 412-3456 -> 0387 15-412-3456 -> +5493874123456, valid: true
Python: +54 9 221 512-3456 -> 0221 15-512-3456 -> +5492215123456, valid: true
Python: +54 11 2345-6789 -> 011 2345-6789 -> +541123456789, valid: true
WANT
