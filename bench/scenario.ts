/** What a scenario is and what it reports. */
import type { Effort } from './measure.ts';

/** One line of a table. */
export interface Row {
  readonly scenario: string;
  /** Values by column, already with their units. */
  readonly cells: Readonly<Record<string, string>>;
  /** The promise that this row stands for, and whether it was kept. */
  readonly target?: { readonly text: string; readonly met: boolean };
}

export interface Table {
  /** Names the place of the table in its page of docs. */
  readonly name: string;
  readonly rows: readonly Row[];
}

export interface Scenario {
  readonly name: string;
  /** Asserts its answers, then measures. @throws Error where an answer is wrong */
  readonly run: (options: RunOptions) => Promise<Table> | Table;
}

export interface RunOptions {
  readonly quick: boolean;
  readonly effort: Effort;
}

/** @throws Error unless both are the same as JSON */
export function assertAnswer(what: string, actual: unknown, expected: unknown): void {
  const [is, ought] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== ought) throw new Error(`${what}: expected ${ought}, got ${is}`);
}

/** `812 ns`, `4.21 µs`, `0.213 ms` */
export function time(ns: number): string {
  if (ns < 1_000) return `${ns.toFixed(0)} ns`;
  if (ns < 100_000) return `${(ns / 1_000).toFixed(2)} µs`;
  return `${(ns / 1_000_000).toFixed(3)} ms`;
}
