#!/usr/bin/env bash
# moto 5.2.5 (a stand-in for AWS): one more value in an SNS filter policy's list
# lets less pass.
#
# A list of a filter policy is an OR: each entry that is added lets more pass. A
# message whose body has no "type" is published to a topic. One queue is subscribed
# with the policy {"type": [{"exists": false}]}, another with
# {"type": ["OrderPlaced", {"exists": false}]}, both by MessageBody. One would
# expect that both get it. Seen: the first does, the second, whose list has an
# entry more, does not. It is the same by MessageAttributes.
#
# https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html
# Needs Python 3 with venv, and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'moto[sns,sqs]==5.2.5' boto3==1.40.0 >/dev/null
cat >filter.py <<'PY'
import json, os, sys
import boto3
from moto import mock_aws

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
policies = {"absent": [{"exists": False}], "absent-or-placed": ["OrderPlaced", {"exists": False}]}
got = {}
with mock_aws():
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="orders")["TopicArn"]
    urls = {}
    for scope in "MessageAttributes", "MessageBody":
        for name, policy in policies.items():
            queue = f"{scope}-{name}"
            urls[queue] = sqs.create_queue(QueueName=queue)["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=urls[queue], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={
                "FilterPolicyScope": scope, "FilterPolicy": json.dumps({"type": policy})})
    sns.publish(TopicArn=topic, Message=json.dumps({"orderId": "o-1"}),
                MessageAttributes={"source": {"DataType": "String", "StringValue": "shop"}})
    for queue, url in urls.items():
        got[queue] = len(sqs.receive_message(QueueUrl=url).get("Messages", []))
        print(f"{queue}: {got[queue]} message(s)")
if any(n != (0 if "or" in q.split("-") else 1) for q, n in got.items()):
    print("no longer so")
    sys.exit(1)
PY
env/bin/python filter.py
