#!/usr/bin/env bash
# sepaxml 2.7.0 (PyPI): a payment order that is exported a second time has every payment
# twice, and a control sum of three times the money. It passes the schema.
#
# Two suppliers are to be paid 100.00 and 50.00 in one credit transfer. The order is
# exported pretty-printed for the log, and then for the bank. One would expect the same
# order twice, for export is said to output the XML, and pretty_print is one of its
# options; php-sepa-xml, of the same trade, takes care that its asXML does so. Seen:
# each export puts the payments into the tree once more, under a fresh PmtInfId, and
# adds the old control sum to the new one. validate=True, the default, says nothing, for
# a schema cannot count. Direct debits share the code: customers are debited twice.
# With batch off the payments stay single, and only the sum and the count are too high.
#
# Needs Python 3 with venv, pip and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sepaxml==2.7.0
cat >pay.py <<'PY'
import datetime
import re

from sepaxml import SepaDD, SepaTransfer

IBAN, BIC, DAY = "NL50BANK1234567890", "BANKNL2A", datetime.date(2026, 12, 1)


def show(kind, order):
    for when, pretty in (("first", True), ("second", False)):
        xml = order.export(validate=True, pretty_print=pretty).decode()
        head = xml[: xml.index("PmtInf")]
        paid = sum(float(amount) for amount in re.findall(r"<InstdAmt[^>]*>([^<]+)", xml))
        said = re.search(r"<NbOfTxs>(\d+)</NbOfTxs>\s*<CtrlSum>([\d.]+)", head)
        print(f"{kind}, {when} export: {xml.count('<InstdAmt')} payments of {paid:.2f} in all,"
              f" header says {said[1]} of {said[2]}")


for batch in True, False:
    order = SepaTransfer({"name": "Shop", "IBAN": IBAN, "BIC": BIC, "batch": batch, "currency": "EUR"})
    for name, cents in ("Carrier", 10000), ("Printer", 5000):
        order.add_payment({"name": name, "IBAN": IBAN, "BIC": BIC, "amount": cents,
                           "execution_date": DAY, "description": name, "endtoend_id": name})
    show(f"transfer, batch {batch}", order)
order = SepaDD({"name": "Shop", "IBAN": IBAN, "BIC": BIC, "batch": True, "currency": "EUR",
                "creditor_id": "DE26ZZZ00000000000", "instrument": "CORE"})
order.add_payment({"name": "Customer", "IBAN": IBAN, "BIC": BIC, "amount": 1999, "type": "RCUR",
                   "collection_date": DAY, "mandate_id": "M1", "mandate_date": DAY, "description": "order 1"})
show("direct debit, batch True", order)
PY
venv/bin/python pay.py | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
transfer, batch True, first export: 2 payments of 150.00 in all, header says 2 of 150.00
transfer, batch True, second export: 4 payments of 300.00 in all, header says 6 of 450.00
transfer, batch False, first export: 2 payments of 150.00 in all, header says 2 of 150.00
transfer, batch False, second export: 2 payments of 150.00 in all, header says 4 of 300.00
direct debit, batch True, first export: 1 payments of 19.99 in all, header says 1 of 19.99
direct debit, batch True, second export: 2 payments of 39.98 in all, header says 3 of 59.97
WANT
