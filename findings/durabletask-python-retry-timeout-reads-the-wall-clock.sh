#!/usr/bin/env bash
# PyPI durabletask 1.12.0: an orchestration that retried an activity under a
# retry_timeout fails when it is replayed after that time, however well the retry went.
#
# An order pays with a RetryPolicy of three attempts within five seconds. The first
# attempt fails, the second pays one second later, and the order waits for an event,
# which comes after seven seconds. One would expect the order to go on, as it does
# without a retry_timeout or with one of a minute: the retries were over long before.
# Seen: it ends FAILED with the error of the first attempt, though its history and its
# status say that it is paid (with an "except" around the call, it ends with a
# NonDeterminismError that speaks of changed code). Each replay decides anew whether
# there is time for the retry, by the wall clock instead of the orchestration's
# current_utc_datetime; after five seconds the answer is no. durabletask-go compares
# the orchestration's time, and Dapr's fork of this package adds up the delays.
#
# Needs Python 3 with venv, and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check durabletask==1.12.0
cat >order.py <<'PY'
import logging, socket, time
from datetime import timedelta
from durabletask import client, task, worker
from durabletask.testing import create_test_backend

attempts = {}


def pay(ctx, _):
    attempts[ctx.orchestration_id] = attempts.get(ctx.orchestration_id, 0) + 1
    if attempts[ctx.orchestration_id] == 1:
        raise RuntimeError("503")
    return "paid"


def order(ctx: task.OrchestrationContext, seconds):
    paid = yield ctx.call_activity(pay, retry_policy=task.RetryPolicy(
        first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3,
        retry_timeout=timedelta(seconds=seconds) if seconds else None))
    ctx.set_custom_status(paid)
    yield ctx.wait_for_external_event("shipped")
    return "shipped"


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
backend = create_test_backend(port=port)
address = f"localhost:{port}"
quiet = logging.NullHandler()
with worker.TaskHubGrpcWorker(host_address=address, log_handler=quiet) as w:
    w.add_orchestrator(order)
    w.add_activity(pay)
    w.start()
    c = client.TaskHubGrpcClient(host_address=address, log_handler=quiet)
    ids = {seconds: c.schedule_new_orchestration(order, input=seconds) for seconds in (None, 60, 5)}
    time.sleep(7)
    for seconds, id in ids.items():
        status = c.get_orchestration_state(id).serialized_custom_status
        c.raise_orchestration_event(id, "shipped")
        end = c.wait_for_orchestration_completion(id, timeout=20)
        why = end.failure_details.message.split(": ", 1)[1] if end.failure_details else end.serialized_output
        print(f"retry_timeout {seconds}: {status} in {attempts[id]} attempts, then {end.runtime_status.name}, {why}", flush=True)
backend.stop()
PY
env/bin/python order.py 2>run.log | tee seen || { tail -5 run.log; exit 1; }
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
retry_timeout None: "paid" in 2 attempts, then COMPLETED, "shipped"
retry_timeout 60: "paid" in 2 attempts, then COMPLETED, "shipped"
retry_timeout 5: "paid" in 2 attempts, then FAILED, Activity task #1 failed: 503
WANT
