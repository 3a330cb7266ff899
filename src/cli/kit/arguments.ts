/** What several commands read from their arguments: times, numbers, JSON and files. */
import { readFileSync } from 'node:fs';
import { errorText } from '../../util/system-error.ts';
import { timeProblem } from '../../util/time.ts';
import { CliError, visible } from './output.ts';

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Later times have no four-digit year, or none at all. */
const MAX_DURATION_S = 36_500 * 86_400;

/** `90d`, `24h`, `30m`, `45s` in seconds. */
export function parseDuration(option: string, text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = UNITS[unit ?? ''];
  if (count === undefined || seconds === undefined)
    throw new CliError(
      `${option}: \`${visible(text)}\` is not a time such as 90d, 24h, 30m or 45s`,
    );
  if (Number(count) * seconds > MAX_DURATION_S)
    throw new CliError(`${option}: \`${text}\` is too long: at most 36500d, a hundred years`);
  return Number(count) * seconds;
}

/** `100/s`, `6000/m`, `5/10s`, or `none`, as a `RateLimit`. */
export function parseRate(option: string, text: string): { requests: number; per_seconds: number } {
  if (text === 'none') return { requests: 0, per_seconds: 0 };
  const [, requests, count = '1', unit] = /^(\d{1,9})\/(\d{1,6})?([smhd])$/.exec(text) ?? [];
  const seconds = UNITS[unit ?? ''];
  if (requests === undefined || seconds === undefined || Number(requests) * Number(count) === 0)
    throw new CliError(`${option}: \`${text}\` is not a rate such as 100/s, 6000/m or none`);
  return { requests: Number(requests), per_seconds: Number(count) * seconds };
}

/** RFC 3339, with its offset from UTC. */
export function parseTime(option: string, text: string): string {
  const problem = timeProblem(text);
  if (problem !== undefined) throw new CliError(`${option}: \`${visible(text)}\` ${problem}`);
  return text;
}

/** A whole number. */
export function parseInteger(option: string, text: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max))
    throw new CliError(`${option}: \`${text}\` is not a whole number from ${min} to ${max}`);
  return value;
}

/** A number of 64 bits, kept as text so that none of it is lost. */
export function parseUint64(option: string, text: string): string {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) > 0xffff_ffff_ffff_ffffn)
    throw new CliError(`${option}: \`${text}\` is not a number of 64 bits`);
  return text;
}

/** A JSON object. */
export function parseObject(option: string, text: string): object {
  const value = parseJson(option, text);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CliError(`${option}: \`${text}\` is not a JSON object such as {"team":"eng"}`);
  return value;
}

/** `key=text` or `key:=JSON`, as one object. */
export function parseEntries(option: string, given: readonly string[]): object {
  return Object.fromEntries(
    given.map((argument) => {
      const at = argument.indexOf('=');
      const typed = argument[at - 1] === ':';
      const key = argument.slice(0, typed ? at - 1 : Math.max(at, 0));
      if (key === '') throw new CliError(`${option}: \`${argument}\` is not key=text or key:=JSON`);
      const text = argument.slice(at + 1);
      return [key, typed ? parseJson(`${option} ${key}`, text) : text];
    }),
  );
}

function parseJson(option: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CliError(`${option}: \`${text}\` is not JSON`);
  }
}

/** The text of a file; `-`: of standard input. */
export function readText(option: string, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file === '-' ? 0 : file));
  } catch (error) {
    throw new CliError(`${option}: \`${file}\` cannot be read: ${errorText(error)}`);
  }
}

/** An object without the properties that are `undefined`: only what the user gave is sent. */
export function given(properties: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

/** For options that may be repeated. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
