#!/usr/bin/env bash
# dyntastic 0.18.0 (DynamoDB with pydantic): a query by time, on a range key that is a
# datetime, leaves out the first second of its span and takes in the second after it.
#
# The README's model Event has a datetime as range key, and is queried with
# A.timestamp < datetime(2022, 2, 13). A datetime is stored as a text, and DynamoDB
# compares texts byte by byte; so each must be written with the same digits, as
# PynamoDB's UTCDateTimeAttribute does. Seen: a fraction that is zero is left out, and
# "10:00:00Z" is after "10:00:00.250000Z", for "." comes before "Z". Four payments of a
# shop, all in UTC, are queried from 10 to 11 o'clock. One would expect the three of
# that hour, in order. Seen: 10:00:00.25 is missing, 11:00:00.5 is there instead, and
# 10:00:02.5 comes before 10:00:02. PynamoDB 6.1.0, asked the same, is right.
#
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
# (strings are compared by the bytes of UTF-8)
# Needs Python 3.10 or newer with venv, and PyPI (moto stands in for DynamoDB).
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5' boto3==1.40.0 pydantic==2.12.0 \
	dyntastic==0.18.0 pynamodb==6.1.0 >/dev/null
cat >hours.py <<'PY'
import os
from datetime import datetime, timedelta, timezone

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
from dyntastic import A, Dyntastic
from moto import mock_aws
from pynamodb.attributes import UnicodeAttribute, UTCDateTimeAttribute
from pynamodb.models import Model


class Payment(Dyntastic):
    __table_name__, __hash_key__, __range_key__ = "payments", "shop", "at"
    shop: str
    at: datetime


class Other(Model):
    class Meta:
        table_name, region = "others", "us-east-1"

    shop = UnicodeAttribute(hash_key=True)
    at = UTCDateTimeAttribute(range_key=True)


def show(what, found):
    print(f"{what}: " + ", ".join(f"{p.at:%H:%M:%S}.{p.at.microsecond // 10000:02}" for p in found))


ten = datetime(2026, 3, 2, 10, tzinfo=timezone.utc)
eleven, last = ten + timedelta(hours=1), timedelta(microseconds=1)
with mock_aws():
    Payment.create_table()
    Other.create_table(read_capacity_units=1, write_capacity_units=1)
    for seconds in 0.25, 2, 2.5, 3600.5:
        Payment(shop="s", at=ten + timedelta(seconds=seconds)).save()
        Other("s", ten + timedelta(seconds=seconds)).save()
    show("dyntastic, all", Payment.query("s"))
    show("dyntastic, 10 to 11", Payment.query("s", range_key_condition=A.at.between(ten, eleven)))
    show("pynamodb, all", Other.query("s"))
    show("pynamodb, 10 to 11", Other.query("s", Other.at.between(ten, eleven)))
PY
env/bin/python hours.py | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
dyntastic, all: 10:00:00.25, 10:00:02.50, 10:00:02.00, 11:00:00.50
dyntastic, 10 to 11: 10:00:02.50, 10:00:02.00, 11:00:00.50
pynamodb, all: 10:00:00.25, 10:00:02.00, 10:00:02.50, 11:00:00.50
pynamodb, 10 to 11: 10:00:00.25, 10:00:02.00, 10:00:02.50
WANT
