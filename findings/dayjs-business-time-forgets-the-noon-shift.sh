#!/usr/bin/env bash
# npm dayjs-business-time 1.0.4 (with dayjs 1.11.23): on a day with two breaks, the hours
# between morning and evening leave out all that is between the breaks; and two moments
# of one evening are one business day apart.
#
# A warehouse works from 8 to 10, from 10:30 to 13 and from 14 to 17, which are 7.5 hours.
# An order waits from 8 to 17. One would expect 7.5 business hours: addBusinessHours(7.5)
# leads from 8 to 17, from 8 to the next day's 8 the same package counts 7.5, and its
# readme allows as many segments in a day as one wants. Seen: 5. If both moments are on
# one day, only the shifts that they fall into are counted; with one break no shift lies
# between. A deadline of 6 hours that was missed counts as met. And in days: an order of
# Friday 18:00 that is answered at 19:00 took 0 hours and 1 day, and so did one from
# Saturday's 10:00 to noon, or Monday's 7:00 to 8:00. The first moment is moved back to
# the last shift's end, the second on to the next start, whereas addBusinessDays(1) from
# Friday 18:00 is Monday 18:00.
#
# Needs Node, npm and its registry. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts dayjs@1.11.23 dayjs-business-time@1.0.4 >/dev/null
cat >wait.js <<'JS'
const dayjs = require('dayjs');
dayjs.extend(require('dayjs-business-time'));

const diff = (from, to) => {
  const [a, b] = [dayjs(from), dayjs(to)];
  console.log(a.format('ddd HH:mm'), 'to', `${b.format('ddd HH:mm')}:`, a.businessHoursDiff(b), 'hours,', a.businessDaysDiff(b), 'days');
};
console.log('Monday to Friday, 9 to 17');
diff('2026-11-27T18:00', '2026-11-27T19:00');
diff('2026-11-28T10:00', '2026-11-28T12:00');
diff('2026-11-30T07:00', '2026-11-30T08:00');
diff('2026-11-30T09:00', '2026-11-30T17:00');
const shifts = [['08:00:00', '10:00:00'], ['10:30:00', '13:00:00'], ['14:00:00', '17:00:00']];
const day = shifts.map(([start, end]) => ({ start, end }));
dayjs.setBusinessTime({ sunday: null, monday: day, tuesday: day, wednesday: day, thursday: day, friday: day, saturday: null });
console.log('Monday to Friday, with two breaks');
console.log('7.5 hours from Mon 08:00:', dayjs('2026-11-30T08:00').addBusinessHours(7.5).format('ddd HH:mm'));
diff('2026-11-30T08:00', '2026-12-01T08:00');
diff('2026-11-30T08:00', '2026-11-30T17:00');
diff('2026-11-30T09:30', '2026-11-30T14:30');
JS
TZ=UTC node wait.js | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
Monday to Friday, 9 to 17
Fri 18:00 to Fri 19:00: 0 hours, 1 days
Sat 10:00 to Sat 12:00: 0 hours, 1 days
Mon 07:00 to Mon 08:00: 0 hours, 1 days
Mon 09:00 to Mon 17:00: 8 hours, 0 days
Monday to Friday, with two breaks
7.5 hours from Mon 08:00: Mon 17:00
Mon 08:00 to Tue 08:00: 7.5 hours, 1 days
Mon 08:00 to Mon 17:00: 5 hours, 0 days
Mon 09:30 to Mon 14:30: 1 hours, 0 days
WANT
