/** The kinds of sinks. A further one is its file in `kinds/`, and a line here. */
import * as z from 'zod';
import { fileSink } from './kinds/file.ts';
import { httpSink } from './kinds/http.ts';
import { redisSink } from './kinds/redis.ts';
import type { SinkContext, SinkKind, SinkPlace } from './kinds/sink-kind.ts';
import { stdoutSink } from './kinds/stdout.ts';
import type { Destination } from './queue.ts';

const KINDS = [stdoutSink, fileSink, redisSink, httpSink] as const;

type SchemasOf<Kinds extends readonly { readonly schema: z.ZodObject }[]> = {
  [I in keyof Kinds]: Kinds[I]['schema'];
};

/** A sink, as settings describe it. */
export const sinkSchema = z.discriminatedUnion(
  'type',
  // One schema for each kind, in their order.
  KINDS.map(({ schema }) => schema) as unknown as SchemasOf<typeof KINDS>,
);

export type SinkSettings = Readonly<z.output<typeof sinkSchema>>;

/** @throws Error where it cannot be opened: a log that cannot be kept must not be promised */
export async function openDestination(
  sink: SinkSettings,
  context: SinkContext,
): Promise<Destination> {
  return kindOf(sink).open(sink, context);
}

/** With the paths of its files made absolute. */
export function withAbsoluteFiles(
  sink: SinkSettings,
  from: (path: string) => string,
): SinkSettings {
  // Settings that name files are texts, and stay texts.
  const named = sink as Readonly<Record<string, unknown>>;
  const files = kindOf(sink).files.flatMap((name): [string, string][] => {
    const path = named[name];
    return typeof path === 'string' ? [[name, from(path)]] : [];
  });
  return { ...sink, ...Object.fromEntries(files) };
}

/** What is wrong with a sink where it is; `undefined`: nothing. */
export function sinkProblem(
  sink: SinkSettings,
  place: SinkPlace,
): readonly [setting: string, message: string] | undefined {
  return kindOf(sink).problem?.(sink, place);
}

/** The file that the sink writes to, and no other sink may write to, and the setting that names it. */
export function ownFile(
  sink: SinkSettings,
): { readonly setting: string; readonly path: string } | undefined {
  const { owns: setting } = kindOf(sink);
  const path =
    setting === undefined ? undefined : (sink as Readonly<Record<string, unknown>>)[setting];
  return setting !== undefined && typeof path === 'string' ? { setting, path } : undefined;
}

function kindOf({ type }: SinkSettings): SinkKind {
  // The settings were checked by the schema of one of the kinds; each takes settings of its own type alone.
  return KINDS.find(({ schema }) => schema.shape.type.value === type) as unknown as SinkKind;
}
