#!/usr/bin/env bash
# dramatiq-sqs 0.4.4 (with dramatiq 2.2.1): a message whose next retry would be more
# than 15 minutes away is neither retried nor put into the dead-letter queue; it is
# deleted.
#
# A broker with dead_letter=True and dramatiq's own middleware, nothing set: up to
# 20 retries, with waits that double from 15 seconds to a week. The actor fails. One
# would expect a retry or, since SQS delays for 15 minutes at most (the README says
# that), a shorter wait; at worst the dead-letter queue. Seen: a message that has
# been retried up to 4 times waits in the queue. One that has been retried 6 times or
# more gets a wait of over 900 seconds; the broker's enqueue refuses it, inside a
# middleware, where an exception is logged only; the message counts as done and is
# acknowledged. So half an hour of a payment that is down empties the queue. One that
# has all its 20 retries behind it does go to the dead-letter queue. (The README's
# example sets max_backoff=900000, and does not say why; that avoids it.)
#
# Needs Python 3 with venv, and PyPI (moto stands in for SQS). Ends with status 0 if
# that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check dramatiq-sqs==0.4.4 dramatiq==2.2.1 'moto[sqs]==5.2.5' boto3==1.44.5 >/dev/null
cat >orders.py <<'PY'
import logging, os, sys, time
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
import boto3, dramatiq
from dramatiq_sqs import SQSBroker
from moto import mock_aws

logging.disable(logging.CRITICAL)
seen = {}
with mock_aws():
    broker = SQSBroker(dead_letter=True)
    dramatiq.set_broker(broker)
    ran = []

    @dramatiq.actor(queue_name="orders")
    def charge(order):
        ran.append(order)
        raise ConnectionError("the payment is down")

    sqs = boto3.client("sqs")

    def count(queue):
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        a = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(v) for k, v in a.items() if k.startswith("ApproximateNumberOfMessages"))

    for retries in 0, 1, 2, 3, 4, 6, 7, 12, 19, 20:
        before = len(ran)
        broker.enqueue(charge.message(f"o-{retries}").copy(options={"retries": retries}))
        queued, dead = count("orders"), count("orders_dlq")
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=1000)
        worker.start()
        until = time.monotonic() + 10
        while len(ran) == before and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        worker.stop()
        where = "dead-letter queue" if count("orders_dlq") > dead else "waits" if count("orders") == queued else "gone"
        seen[retries] = where
        print(f"ran {len(ran) - before} time, had {retries} retries before: {where}", flush=True)
want = {**dict.fromkeys(range(5), "waits"), **dict.fromkeys((6, 7, 12, 19), "gone"), 20: "dead-letter queue"}
if seen != want or len(ran) != len(want):
    print("no longer so")
    sys.exit(1)
print("still so")
PY
env/bin/python orders.py
