/** What a kind of sink is: its settings, how they are checked, and how its destination is opened. */
import * as z from 'zod';
import type { CredentialSettings } from '../../../store/redis/credentials.ts';
import type { Destination } from '../queue.ts';

/** What a sink is opened with, beside its settings. */
export interface SinkContext {
  /** Names this process and sink among all that write to the same place. */
  readonly writer: string;
  /** The store's address and access, where a sink names none of its own. */
  readonly store: string;
  readonly redis: CredentialSettings;
  /** Which of several processes this is, from 1; `undefined`: the only one. */
  readonly worker: number | undefined;
  readonly workers: number;
  readonly onError: (error: unknown) => void;
}

/** What a kind of sink must fit, as settings have it. */
export interface SinkPlace {
  readonly store: string;
  readonly workers: number;
}

export interface SinkKind<Schema extends z.ZodObject = z.ZodObject> {
  /** With its `type`. */
  readonly schema: Schema;
  /** Settings that name files: relative to the file of the settings. */
  readonly files: readonly (keyof z.output<Schema> & string)[];
  /** The setting that names a file of which no other sink may be, too. */
  readonly owns?: keyof z.output<Schema> & string;
  /** What is wrong with its settings where it is; `undefined`: nothing. */
  problem?(
    settings: z.output<Schema>,
    place: SinkPlace,
  ): readonly [setting: keyof z.output<Schema> & string, message: string] | undefined;
  /** @throws Error where it cannot be opened: a log that cannot be kept must not be promised */
  open(settings: z.output<Schema>, context: SinkContext): Destination | Promise<Destination>;
}

/** A kind of sink, with the types of its settings. */
export function sinkKind<Schema extends z.ZodObject>(kind: SinkKind<Schema>): SinkKind<Schema> {
  return kind;
}

export const HOUR_MS = 3_600_000;
/** 100 years. */
export const MAX_HOURS = 876_000;

export function amount(
  fallback: number,
  most: number,
  description: string,
): z.ZodDefault<z.ZodInt> {
  return z.int().min(0).max(most).default(fallback).meta({ description });
}

/** Settings of every sink. */
export const common = {
  mode: z.enum(['drop', 'block', 'strict']).default('drop').meta({
    description:
      'What an answer waits for: nothing (records may be lost, and are counted), room for its record, or its record being kept',
  }),
  buffer_bytes: z
    .int()
    .min(1)
    .max(16 * 1024 * 1024 * 1024)
    .default(16_777_216)
    .meta({ description: 'Records that may wait for the sink' }),
  max_record_bytes: recordBytes(8 * 1024 * 1024),
  timeout_ms: z.int().min(10).max(1_000_000_000).default(1_000).meta({
    description: 'How long an answer waits for its record in mode strict (milliseconds)',
  }),
};

/** Further settings of sinks that are elsewhere. */
export const remote = {
  max_record_bytes: recordBytes(1024 * 1024),
  spool_file: z.string().min(1).optional().meta({
    description: 'File for what cannot be delivered before the end; the next start sends it first',
  }),
  spool_bytes: z
    .int()
    .min(1)
    .max(1024 * 1024 * 1024)
    .default(67_108_864)
    .meta({
      description: 'Size of that file at most',
    }),
};

function recordBytes(fallback: number): z.ZodDefault<z.ZodInt> {
  return z
    .int()
    .min(16_384)
    .max(64 * 1024 * 1024)
    .default(fallback)
    .meta({
      description: 'A record that has more bytes is cut down to a stub that says so',
    });
}
