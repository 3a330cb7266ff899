/** Prometheus text as a scraper reads it: strictly, and with what it promises checked. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

export type Exposition = ReadonlyMap<string, Family>;

const SUFFIXES = new Set(['', '_bucket', '_sum', '_count']);

/** @throws Error with the line that is not as the format says */
export function parseExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, { type: string; help: string; samples: Sample[] }>();
  const seen = new Set<string>();
  let current = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const [, help, about = ''] = /^# HELP ([a-z_0-9]+) (.+)$/.exec(line) ?? [];
    const [, typed, type = ''] = /^# TYPE ([a-z_0-9]+) (counter|gauge|histogram)$/.exec(line) ?? [];
    if (help !== undefined) {
      if (families.has(help)) fail('told twice');
      families.set(help, { type: '', help: about, samples: [] });
      current = help;
    } else if (typed === undefined) {
      const sample = sampleOf(line) ?? fail('not a sample');
      const family = families.get(current);
      if (family === undefined || family.type === '') throw new Error(`no TYPE before: ${line}`);
      const suffix = sample.name.slice(current.length);
      if (!sample.name.startsWith(current) || !SUFFIXES.has(suffix)) fail('of another family');
      if ((family.type === 'histogram') === (suffix === '')) fail('not of that type');
      if (family.type === 'counter' && !current.endsWith('_total')) fail('a counter is a _total');
      const series = seriesOf(sample);
      if (seen.has(series)) fail('a series stands twice');
      seen.add(series);
      family.samples.push(sample);
    } else {
      const family = families.get(typed);
      if (family === undefined || typed !== current) throw new Error(`no HELP before: ${line}`);
      family.type = type;
    }
  }
  for (const [name, family] of families)
    if (family.type === 'histogram') checkBuckets(name, family);
  return families;
}

function sampleOf(line: string): Sample | undefined {
  const [, name, inner, text] =
    /^([a-z_0-9]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/.exec(line) ?? [];
  if (name === undefined || text === undefined) return undefined;
  const value = text === '+Inf' ? Infinity : Number(text);
  if (Number.isNaN(value)) return undefined;
  const labels = [...(inner ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)];
  return {
    name,
    value,
    labels: Object.fromEntries(labels.map(([, label = '', of = '']) => [label, of])),
  };
}

/** Buckets grow, the last one is +Inf and equals the count. */
function checkBuckets(name: string, { samples }: Family): void {
  const last = new Map<string, { le: number; value: number }>();
  for (const { name: sample, labels, value } of samples) {
    const { le, ...rest } = labels;
    const series = JSON.stringify(rest);
    const before = last.get(series);
    if (sample === `${name}_bucket`) {
      const bound = le === '+Inf' ? Infinity : Number(le);
      if (before !== undefined && (bound <= before.le || value < before.value))
        throw new Error(`buckets of ${name} do not grow: ${series} le=${String(le)}`);
      last.set(series, { le: bound, value });
    } else if (sample === `${name}_count` && (before?.le !== Infinity || before.value !== value))
      throw new Error(`the count of ${name} is not its last bucket: ${series}`);
  }
}

function seriesOf({ name, labels }: Sample): string {
  const pairs = Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1));
  return `${name}{${pairs.map(([label, value]) => `${label}=${value}`).join(',')}}`;
}

/** All series by what identifies them. */
export function seriesIn(exposition: Exposition): ReadonlyMap<string, number> {
  const samples = [...exposition.values()].flatMap((family) => family.samples);
  return new Map(samples.map((sample) => [seriesOf(sample), sample.value]));
}

export async function scrape(http: string): Promise<Exposition> {
  const response = await fetch(`http://${http}/metrics`);
  const type = response.headers.get('content-type') ?? '';
  if (!type.startsWith('text/plain; version=0.0.4')) throw new Error(`no metrics but ${type}`);
  return parseExposition(await response.text());
}
