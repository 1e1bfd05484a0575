#!/usr/bin/env bash
# icalevents 0.3.1 (PyPI): a series that has ended gives one more appointment,
# because UNTIL is moved later by the zone's distance from UTC.
#
# A daily delivery slot, 09:00 to 11:00, begins on 23 November 2026 and ends with
# the 25th: UNTIL is the 25th's last second in the slot's zone, written in UTC, as
# RFC 5545 wants it with a DTSTART that has a TZID, and as calendars write it when
# "this and all following" are deleted. One would expect 3 slots everywhere, as
# recurring-ical-events 3.8.2 gives. Seen: in Sydney and Auckland a fourth, on the
# 26th. The offset's absolute value is added to UNTIL, though UNTIL is a point in
# time already: 11 hours in Sydney, 8 in Los Angeles (where it reaches a slot at
# 06:00), 1 in Berlin. Berlin's and New York's slots at 09:00 are right, so it is
# not seen there.
#
# RFC 5545, 3.3.10: UNTIL bounds the recurrence in an inclusive manner.
# Needs Python 3 with venv, and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check icalevents==0.3.1 recurring-ical-events==3.8.2 >/dev/null
cat >slots.py <<'PY'
import datetime as dt
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
from icalevents.icalevents import events

first, last = dt.datetime(2026, 11, 1, tzinfo=dt.timezone.utc), dt.datetime(2026, 12, 31, tzinfo=dt.timezone.utc)
for name, hour in ("Europe/Berlin", 9), ("America/New_York", 9), ("America/Los_Angeles", 6), ("Australia/Sydney", 9), ("Pacific/Auckland", 9):
    zone = ZoneInfo(name)
    until = dt.datetime(2026, 11, 25, 23, 59, 59, tzinfo=zone).astimezone(dt.timezone.utc)
    text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//ordersaga//slots//EN", "BEGIN:VEVENT", "UID:slot-1",
                        "DTSTAMP:20261101T000000Z", "SUMMARY:delivery", f"DTSTART;TZID={name}:20261123T{hour:02}0000", "DURATION:PT2H",
                        f"RRULE:FREQ=DAILY;UNTIL={until:%Y%m%dT%H%M%SZ}", "END:VEVENT", "END:VCALENDAR", ""])
    got = sorted(e.start.astimezone(zone) for e in events(string_content=text.encode(), start=first, end=last))
    peer = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(first, last)
    peer = sorted(e["DTSTART"].dt.astimezone(zone) for e in peer)
    days = lambda starts: " ".join(f"{s:%d}" for s in starts)
    print(f"{name} {hour:02}:00: icalevents {days(got)}, recurring-ical-events {days(peer)}")
PY
env/bin/python slots.py | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
Europe/Berlin 09:00: icalevents 23 24 25, recurring-ical-events 23 24 25
America/New_York 09:00: icalevents 23 24 25, recurring-ical-events 23 24 25
America/Los_Angeles 06:00: icalevents 23 24 25 26, recurring-ical-events 23 24 25
Australia/Sydney 09:00: icalevents 23 24 25 26, recurring-ical-events 23 24 25
Pacific/Auckland 09:00: icalevents 23 24 25 26, recurring-ical-events 23 24 25
WANT
