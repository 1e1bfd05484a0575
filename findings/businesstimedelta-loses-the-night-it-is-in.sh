#!/usr/bin/env bash
# businesstimedelta 1.0.1 (PyPI): work that begins during a night shift gets none of that
# shift's hours; and a time off that ends with the working day is not taken off.
#
# A depot works at night from 22 to 6: "overnight shifts can be represented by setting end
# time less than start time", says the rule, and the readme adds such a shift to a day
# shift. One would expect 7 hours from Monday 23:00 to Tuesday 6:00, and a due time of
# Tuesday 1:00 for an order of 23:00 with 2 hours to go. Seen: 0 hours, and Wednesday
# 0:00, a day late. So it is for each start from 22:00 sharp to the shift's end; a start
# at 21:59 gets the same shift's 8 hours. Then an office works from 9 to 18, and closes at
# 16 on Fridays (a rule with time_off, as the lunch break is). One would expect 7 hours.
# Seen: 9. If the time off ends at 17:59 it is taken off. It is too if one starts within
# it: an order of 15:00 has 180 minutes left that day, one of 16:30 has none.
#
# Needs Python 3 with venv, pip and PyPI. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check businesstimedelta==1.0.1
cat >shifts.py <<'PY'
from datetime import datetime, time

from businesstimedelta import BusinessTimeDelta, Rules, WorkDayRule

WEEK = [0, 1, 2, 3, 4]


def at(day, clock):
    return datetime(2026, 11, day, *map(int, clock.split(":")))


night = Rules([WorkDayRule(start_time=time(22), end_time=time(6), working_days=WEEK)])
for clock in "21:59", "22:00", "23:00":
    start = at(23, clock)
    hours = night.difference(start, at(24, "6:00")).hours
    due = start + BusinessTimeDelta(night, hours=2)
    print(f"night shift, Mon {clock} to Tue 6:00: {hours} hours; 2 hours later: {due:%a %H:%M}")
office = WorkDayRule(start_time=time(9), end_time=time(18), working_days=WEEK)
for end in time(18), time(17, 59):
    early = Rules([office, WorkDayRule(start_time=time(16), end_time=end, working_days=[4], time_off=True)])
    spans = []
    for clock in "9:00", "15:00", "16:30":
        span = early.difference(at(27, clock), at(27, "18:00"))
        spans.append(f"from {clock} {span.hours * 60 + span.seconds // 60} min")
    print(f"Friday till 18:00, off from 16:00 to {end:%H:%M}: {', '.join(spans)}")
PY
venv/bin/python shifts.py | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
night shift, Mon 21:59 to Tue 6:00: 8 hours; 2 hours later: Tue 00:00
night shift, Mon 22:00 to Tue 6:00: 0 hours; 2 hours later: Wed 00:00
night shift, Mon 23:00 to Tue 6:00: 0 hours; 2 hours later: Wed 00:00
Friday till 18:00, off from 16:00 to 18:00: from 9:00 540 min, from 15:00 180 min, from 16:30 0 min
Friday till 18:00, off from 16:00 to 17:59: from 9:00 421 min, from 15:00 61 min, from 16:30 1 min
WANT
