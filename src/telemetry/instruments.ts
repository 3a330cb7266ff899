/** Instruments: what the hot path adds to, and what a scrape reads. Labels are enums only, never ids. */

/** One number of an instrument. */
export interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Behind the name, of the parts of a histogram; absent: nothing. */
  readonly suffix?: string;
}

/** An instrument by its name in Prometheus; its values are made when it is scraped. */
export interface Instrument {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly values: () => readonly Value[];
}

/** A part of the metrics: its methods count, its instruments are scraped. */
export interface InstrumentTable {
  readonly instruments: readonly Instrument[];
}

export function counter(name: string, help: string, values: Instrument['values']): Instrument {
  return { name, help, type: 'counter', values };
}

export function gauge(name: string, help: string, values: Instrument['values']): Instrument {
  return { name, help, type: 'gauge', values };
}

/** One value without labels. */
export function single(value: () => number): Instrument['values'] {
  return () => [{ labels: {}, value: value() }];
}

/** A value for each name of a label. */
export function by(
  label: string,
  counts: () => Readonly<Record<string, number>>,
): Instrument['values'] {
  return () =>
    Object.entries(counts()).map(([name, value]) => ({ labels: { [label]: name }, value }));
}

/** One histogram for each name of a label. */
export class Histograms {
  readonly #label: string;
  readonly #names: readonly string[];
  /** Upper bounds, ascending. */
  readonly #bounds: readonly number[];
  readonly #buckets: Float64Array;
  readonly #sums: Float64Array;

  constructor(label: string, names: readonly string[], bounds: readonly number[]) {
    this.#label = label;
    this.#names = names;
    this.#bounds = bounds;
    this.#buckets = new Float64Array(names.length * (bounds.length + 1));
    this.#sums = new Float64Array(names.length);
  }

  /** @param at index of the name */
  observe(at: number, value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
    bump(this.#buckets, at * (bounds.length + 1) + bucket, 1);
    bump(this.#sums, at, value);
  }

  values(): readonly Value[] {
    return this.#names.flatMap((name, at) => this.#valuesOf(name, at));
  }

  #valuesOf(name: string, at: number): Value[] {
    const labels = { [this.#label]: name };
    const width = this.#bounds.length + 1;
    const values: Value[] = [];
    let count = 0;
    for (const [b, bound] of [...this.#bounds, Infinity].entries()) {
      count += this.#buckets[at * width + b] ?? 0;
      const le = bound === Infinity ? '+Inf' : bound;
      values.push({ labels: { ...labels, le }, value: count, suffix: '_bucket' });
    }
    values.push({ labels, value: this.#sums[at] ?? 0, suffix: '_sum' });
    values.push({ labels, value: count, suffix: '_count' });
    return values;
  }
}

export function bump(array: Float64Array, index: number, by: number): void {
  array[index] = (array[index] ?? 0) + by;
}
