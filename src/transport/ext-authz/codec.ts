/** Envoy's messages, read and written by hand: every request that passes through Envoy waits for them. */
import { DecodeProblem } from '../codec/problem.ts';
import { readStruct } from '../codec/struct.ts';
import { Reader, Writer } from '../codec/wire.ts';

/** What Envoy asks. */
export interface HttpQuestion {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** By lower-case name: the values in their order; one value may be several that Envoy joined by commas. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** The verified identity of the client's certificate; `''`: none. */
  readonly principal: string;
  /** What the configuration of Envoy's route says. */
  readonly context: ReadonlyMap<string, string>;
  /** What filters before this one found, by filter. */
  readonly metadata: Metadata;
  /** What the configuration of Envoy's route says as metadata, by namespace. */
  readonly routeMetadata: Metadata;
}

export type Metadata = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

interface Draft {
  id: string;
  method: string;
  path: string;
  host: string;
  readonly headers: Map<string, string[]>;
  principal: string;
  readonly context: Map<string, string>;
  readonly metadata: Map<string, Readonly<Record<string, unknown>>>;
  readonly routeMetadata: Map<string, Readonly<Record<string, unknown>>>;
  /** What its headers, extensions and metadata have cost so far, bytes. */
  cost: number;
}

/** Headers, context extensions and metadata of a request: beyond it, reading them would hold others up (ADM-11). */
const MAX_COST = 1024 * 1024;
/** An entry costs as if it were so much longer, bytes; a value of metadata may be as short as two bytes. */
const ENTRY_COST = 32;
const METADATA_FACTOR = 4;

/** @throws DecodeProblem */
function pay(draft: Draft, cost: number): void {
  draft.cost += cost;
  if (draft.cost > MAX_COST)
    throw new DecodeProblem(
      '',
      `the headers, context extensions and metadata have more than ${MAX_COST} bytes, with ${ENTRY_COST} added an entry and metadata counted ${METADATA_FACTOR} times: let Envoy send fewer`,
    );
}

/** `undefined`: the message has no HTTP request. @throws WireError, DecodeProblem */
export function decodeQuestion(bytes: Buffer): HttpQuestion | undefined {
  const draft: Draft = {
    id: '',
    method: '',
    path: '',
    host: '',
    headers: new Map(),
    principal: '',
    context: new Map(),
    metadata: new Map(),
    routeMetadata: new Map(),
    cost: 0,
  };
  const reader = new Reader(bytes);
  let found = false;
  while (reader.next())
    if (reader.field === 1) found = readAttributes(reader, draft) || found;
    else reader.skip();
  return found ? draft : undefined;
}

function readAttributes(reader: Reader, draft: Draft): boolean {
  const outer = reader.enter('attributes');
  let found = false;
  while (reader.next())
    switch (reader.field) {
      case 1:
        readPeer(reader, draft);
        break;
      case 4:
        found = readRequest(reader, draft) || found;
        break;
      case 10: {
        const [key, value] = readEntry(reader, 'context_extensions', draft);
        draft.context.set(key, value);
        break;
      }
      case 11:
        readMetadata(reader, 'metadata_context', draft, draft.metadata);
        break;
      case 13:
        readMetadata(reader, 'route_metadata_context', draft, draft.routeMetadata);
        break;
      default:
        reader.skip();
    }
  reader.leave(outer);
  return found;
}

function readPeer(reader: Reader, draft: Draft): void {
  const outer = reader.enter('source');
  while (reader.next())
    if (reader.field === 4) draft.principal = reader.string('principal');
    else reader.skip();
  reader.leave(outer);
}

function readRequest(reader: Reader, draft: Draft): boolean {
  const outer = reader.enter('request');
  let found = false;
  while (reader.next())
    if (reader.field === 2) {
      readHttp(reader, draft);
      found = true;
    } else reader.skip();
  reader.leave(outer);
  return found;
}

function readHttp(reader: Reader, draft: Draft): void {
  const outer = reader.enter('http');
  while (reader.next())
    switch (reader.field) {
      case 1:
        draft.id = reader.string('id');
        break;
      case 2:
        draft.method = reader.string('method');
        break;
      case 3: {
        const [key, value] = readEntry(reader, 'headers', draft);
        addHeader(draft, key, value);
        break;
      }
      case 4:
        draft.path = reader.string('path');
        break;
      case 5:
        draft.host = reader.string('host');
        break;
      case 13:
        readHeaderMap(reader, draft);
        break;
      default:
        reader.skip();
    }
  reader.leave(outer);
}

function addHeader({ headers }: Draft, key: string, value: string): void {
  const name = key.toLowerCase();
  const values = headers.get(name);
  if (values === undefined) headers.set(name, [value]);
  else values.push(value);
}

function readHeaderMap(reader: Reader, draft: Draft): void {
  const outer = reader.enter('header_map');
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
    const inner = reader.enter('headers');
    pay(draft, reader.left() + ENTRY_COST);
    let key = '';
    let value = '';
    while (reader.next())
      if (reader.field === 1) key = reader.string('key');
      // The raw value replaces the other; what is no UTF-8 is refused, as everywhere (ID-1).
      else if (reader.field === 2 || reader.field === 3) value = reader.string('value');
      else reader.skip();
    reader.leave(inner);
    addHeader(draft, key, value);
  }
  reader.leave(outer);
}

function readEntry(
  reader: Reader,
  name: string,
  draft: Draft,
): readonly [key: string, value: string] {
  const outer = reader.enter(name);
  pay(draft, reader.left() + ENTRY_COST);
  let key = '';
  let value = '';
  while (reader.next())
    if (reader.field === 1) key = reader.string(`${name} key`);
    else if (reader.field === 2) value = reader.string(`${name} value`);
    else reader.skip();
  reader.leave(outer);
  return [key, value];
}

function readMetadata(reader: Reader, name: string, draft: Draft, found: Draft['metadata']): void {
  const outer = reader.enter(name);
  pay(draft, METADATA_FACTOR * reader.left());
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
    const inner = reader.enter('filter_metadata');
    let filter = '';
    let values: Readonly<Record<string, unknown>> = {};
    while (reader.next())
      if (reader.field === 1) filter = reader.string('filter');
      else if (reader.field === 2) values = readStruct(reader);
      else reader.skip();
    reader.leave(inner);
    found.set(filter, values);
  }
  reader.leave(outer);
}

// ── writing ───────────────────────────────────────────────────────────────────────────────────────

const writer = new Writer();
/** `OVERWRITE_IF_EXISTS_OR_ADD`. */
const OVERWRITE = 2;
type Header = readonly [name: string, value: string];

export interface Facts {
  readonly [name: string]: string | number | boolean;
}

/** The request passes, with these headers in the place of the client's. `status.code` 0 is OK: an empty message. */
export function encodeAllowed(
  set: readonly Header[],
  remove: readonly string[],
  metadata: Facts,
): Buffer {
  // The status is there, though it is empty: without it, Envoy would allow as well, but by accident.
  writer.message(1, () => {});
  writer.message(3, () => {
    for (const header of set) writeHeader(header);
    for (const name of remove) writer.element(5, name);
  });
  writeMetadata(metadata);
  return writer.finish();
}

/** The request does not pass. @param code gRPC status, never 0 */
export function encodeDenied(...answer: Answer): Buffer {
  return encodeStopped(2, answer);
}

/**
 * The decision failed: Envoy 1.37 and newer do what their failure mode says, older ones take it for a denial.
 * @param code gRPC status, never 0
 */
export function encodeFailed(...answer: Answer): Buffer {
  return encodeStopped(5, answer);
}

type Answer = readonly [
  code: number,
  status: number,
  set: readonly Header[],
  body: string,
  metadata: Facts,
];

/** @param field of `http_response` */
function encodeStopped(field: 2 | 5, [code, status, set, body, metadata]: Answer): Buffer {
  writer.message(1, () => writer.uint(1, code));
  writer.message(field, () => {
    writer.message(1, () => writer.uint(1, status));
    for (const header of set) writeHeader(header);
    writer.string(3, body);
  });
  writeMetadata(metadata);
  return writer.finish();
}

function writeHeader([name, value]: Header): void {
  writer.message(2, () => {
    writer.message(1, () => {
      writer.string(1, name);
      writer.string(2, value);
    });
    writer.uint(3, OVERWRITE);
  });
}

function writeMetadata(metadata: Facts): void {
  writer.message(4, () => {
    for (const [name, value] of Object.entries(metadata))
      writer.message(1, () => {
        writer.string(1, name);
        writer.message(2, () => {
          if (typeof value === 'string') writer.element(3, value);
          else if (typeof value === 'number') writer.element(3, String(value));
          else writer.flag(4, value);
        });
      });
  });
}
