/** Times in RFC 3339, with the problem of an invalid one. */

const FORM =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?([Zz]|[+-](\d{2}):(\d{2}))?$/;
const EXAMPLE = '2030-01-31T12:00:00Z';

/** Earlier and later times have a year that RFC 3339 cannot express; ms since the epoch. */
const FIRST_TIME = Date.parse('0000-01-01T00:00:00Z');
export const LAST_TIME = Date.parse('9999-12-31T23:59:59.999Z');

/** The problem of a time with the correct form; `undefined`: it is valid. */
export function timeProblem(text: string): string | undefined {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text))
    return dayProblem(text) ?? `has no time of day: write ${text}T00:00:00Z`;
  const found = FORM.exec(text);
  if (found === null) return `is not an RFC 3339 time: write it as ${EXAMPLE}`;
  const [, , , , hour, minute, second, zone, zoneHour = '0', zoneMinute = '0'] = found;
  const day = dayProblem(text);
  if (day !== undefined) return day;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59)
    return 'is no time of day: it goes from 00:00:00 to 23:59:59';
  if (zone === undefined)
    return `has no zone: write ${text}Z for UTC, or an offset such as +01:00 at its end`;
  if (Number(zoneHour) > 23 || Number(zoneMinute) > 59)
    return `has no such offset from UTC: write it as ${EXAMPLE}, or with +01:00 at its end`;
  const at = Date.parse(text);
  // A year that the runtime's calendar does not support.
  if (Number.isNaN(at)) return `is not an RFC 3339 time: write it as ${EXAMPLE}`;
  if (at < FIRST_TIME) return 'is before the year 0000';
  return at > LAST_TIME ? 'is after 9999-12-31T23:59:59.999Z: leave it out for no end' : undefined;
}

/** The problem of a text that starts with a date. */
function dayProblem(text: string): string | undefined {
  const [year, month, day] = [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10)].map(Number);
  if (year === undefined || month === undefined || day === undefined) return undefined;
  if (month < 1 || month > 12) return `has month ${month}: months go from 01 to 12`;
  const days = new Date(Date.UTC(2_000 + (year % 400), month, 0)).getUTCDate();
  return day < 1 || day > days
    ? `is no day of the calendar: that month has ${days} days`
    : undefined;
}
