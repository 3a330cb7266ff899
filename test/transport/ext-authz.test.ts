/** Envoy's question to Postern without Envoy: bytes, canonical form, identities, routes, and what is answered. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { status, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseCatalog } from '../../src/config/catalog.ts';
import { parseSource, readSource } from '../../src/config/document.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parsePathTemplate, parseRoutes, type RoutesFile } from '../../src/config/routes.ts';
import type { Reason } from '../../src/engine/model.ts';
import { readInForce } from '../../src/server/reloadable.ts';
import type {
  CheckAnswer,
  CheckCall,
  Credential,
  Identified,
  Refusal,
  Service,
} from '../../src/service/calls.ts';
import type { Failure } from '../../src/service/failure.ts';
import { canonicalRequest } from '../../src/transport/ext-authz/canonical.ts';
import {
  decodeQuestion,
  encodeAllowed,
  encodeDenied,
  encodeFailed,
} from '../../src/transport/ext-authz/codec.ts';
import {
  CHECK_PATH,
  compile,
  extAuthzMethod,
  type ExtAuthzOptions,
} from '../../src/transport/ext-authz/methods.ts';
import { RpcError } from '../../src/transport/grpc/status.ts';
import { makeTenant, ROUTES, TENANT, type Tokens } from '../envoy/support.ts';
import fc from '../support/fast-check.ts';
import { serve } from '../support/process.ts';
import { until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, startTestServer, type TestClient, type TestServer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

// ── a second codec ────────────────────────────────────────────────────────────────────────────────

const root = new protobuf.Root();
root.resolvePath = (_origin, target): string =>
  target.startsWith('google/') ? target : join(PACKAGE_ROOT, 'proto', target);
root.loadSync('envoy/service/auth/v3/external_auth.proto', { keepCase: true }).resolveAll();
const type = (name: string): protobuf.Type => root.lookupType(`envoy.service.auth.v3.${name}`);
const encode = (message: object): Buffer =>
  Buffer.from(type('CheckRequest').encode(type('CheckRequest').fromObject(message)).finish());

/** What a client, and Envoy for it, say of a request. */
interface Http {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly header_map?: readonly (readonly [name: string, value: string])[];
  readonly principal?: string;
  readonly context?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, object>>;
  readonly routeMetadata?: Readonly<Record<string, object>>;
  readonly id?: string;
}

function question(http: Http): Buffer {
  const { method = 'GET', path = '/', host = 'api.example.com', headers = {}, id = '' } = http;
  const map = http.header_map?.map(([key, value]) => ({ key, raw_value: Buffer.from(value) }));
  const metadata = (values: Http['metadata'] = {}): object => ({
    filter_metadata: Object.fromEntries(
      Object.entries(values).map(([filter, value]) => [filter, structOf(value)]),
    ),
  });
  return encode({
    attributes: {
      ...(http.principal === undefined ? {} : { source: { principal: http.principal } }),
      request: {
        http: {
          id,
          method,
          path,
          host,
          headers,
          scheme: 'https',
          protocol: 'HTTP/1.1',
          ...(map === undefined ? {} : { header_map: { headers: map } }),
        },
      },
      context_extensions: http.context ?? {},
      metadata_context: metadata(http.metadata),
      route_metadata_context: metadata(http.routeMetadata),
    },
  });
}

function structOf(value: object): object {
  const fields = Object.entries(value).map(([key, one]) => [key, valueOf(one)]);
  return { fields: Object.fromEntries(fields) as object };
}

function valueOf(value: unknown): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(valueOf) } };
  return typeof value === 'object' && value !== null
    ? { structValue: structOf(value) }
    : { nullValue: 0 };
}

/** An answer, with everything that Envoy would do. */
interface Told {
  readonly code: number;
  readonly allowed: boolean;
  readonly status: number | undefined;
  readonly set: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
  readonly body: string;
  /** The decision failed: Envoy's failure mode says what becomes of the request. */
  readonly failed: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
}

interface RawHeader {
  readonly header: { readonly key: string; readonly value?: string };
  readonly append_action: string;
}

interface RawAnswer {
  readonly status?: { readonly code?: number };
  readonly headers?: readonly RawHeader[];
  readonly body?: string;
}

/** Reads an answer, and holds it against what no answer may lack: an empty one would allow. */
function told(bytes: Buffer): Told {
  expect(bytes.length).toBeGreaterThan(0);
  const message = type('CheckResponse').toObject(type('CheckResponse').decode(bytes), {
    enums: String,
  }) as {
    readonly status?: { readonly code?: number };
    readonly ok_response?: {
      readonly headers?: readonly RawHeader[];
      readonly headers_to_remove?: readonly string[];
    };
    readonly denied_response?: RawAnswer;
    readonly error_response?: RawAnswer;
    readonly dynamic_metadata?: {
      readonly fields?: Readonly<Record<string, { stringValue?: string; boolValue?: boolean }>>;
    };
  };
  expect(message).toHaveProperty('status');
  const code = message.status?.code ?? 0;
  const { ok_response: ok, denied_response: denied, error_response: error } = message;
  const stopped = denied ?? error;
  if (code === 0) {
    expect(ok).toBeDefined();
    expect(stopped).toBeUndefined();
  } else {
    expect(ok).toBeUndefined();
    expect(denied === undefined ? [13, 14] : [7, 16]).toContain(code);
    const statuses = denied === undefined ? [500, 503] : [400, 401, 403, 404, 413, 429];
    expect(statuses).toContain(stopped?.status?.code);
  }
  const headers = (ok ?? stopped)?.headers ?? [];
  for (const header of headers) expect(header.append_action).toBe('OVERWRITE_IF_EXISTS_OR_ADD');
  const names = headers.map(({ header }) => header.key);
  expect(new Set(names).size).toBe(names.length);
  for (const name of ok?.headers_to_remove ?? []) expect(names).not.toContain(name);
  return {
    code,
    allowed: code === 0,
    status: stopped?.status?.code,
    failed: error !== undefined,
    set: Object.fromEntries(headers.map(({ header }) => [header.key, header.value ?? ''])),
    remove: ok?.headers_to_remove ?? [],
    body: stopped?.body ?? '',
    metadata: Object.fromEntries(
      Object.entries(message.dynamic_metadata?.fields ?? {}).map(([name, value]) => [
        name,
        value.stringValue ?? value.boolValue,
      ]),
    ),
  };
}

// ── the canonical request ─────────────────────────────────────────────────────────────────────────

const canonical = (path: string, host = 'a', method = 'GET') =>
  canonicalRequest({ method, path, host });
const isRefused = (path: string): boolean => 'problem' in canonical(path);

describe('the canonical path', () => {
  it.each([
    '/',
    '/v1/threads/t-1',
    '/v1/threads/',
    '/a.b/c..d',
    '/v1/a%40b.example',
    '/v1/a@b:c,d+e=f&g!$(h)*~_-',
    '/caf%C3%A9/%e2%82%ac',
    '/a%20b',
    '/a?x=/../..;%2F%00',
    '/a?',
    '/.well-known/x',
    '/...a',
  ])('%s is one', (path) => {
    expect(canonical(path)).toEqual({ method: 'GET', host: 'a', path: path.split('?')[0] });
  });

  it.each([
    ['empty', ''],
    ['no slash', 'v1/threads'],
    ['the whole server', '*'],
    ['absolute form', 'http://evil.example/v1/threads/t-1'],
    ['absolute form in capitals', 'HTTP://evil.example/'],
    ['authority form', 'evil.example:443'],
    ['another host in the path', '//evil.example/v1'],
    ['two slashes', '/v1//threads/t-1'],
    ['two slashes at the end', '/v1/threads//'],
    ['a dot segment', '/v1/./threads'],
    ['a dot segment at the end', '/v1/.'],
    ['the parent', '/v1/files/../threads'],
    ['the parent at the end', '/v1/files/..'],
    ['three dots', '/v1/.../x'],
    ['an encoded dot', '/v1/%2e/x'],
    ['an encoded parent', '/v1/%2e%2e/x'],
    ['a half encoded parent', '/v1/.%2E/x'],
    ['a doubly encoded parent', '/v1/%252e%252e/x'],
    ['an encoded slash', '/v1/files/a%2Fb'],
    ['an encoded slash in small letters', '/v1/files/a%2fb'],
    ['a doubly encoded slash', '/v1/files/a%252Fb'],
    ['a backslash', '/v1\\threads'],
    ['an encoded backslash', '/v1%5Cthreads'],
    ['the parent by backslash', '/v1/..\\threads'],
    ['the parent by an encoded backslash', '/v1/..%5c..%5cthreads'],
    ['an encoded NUL', '/v1/threads/t%00'],
    ['a NUL', '/v1/threads/t\u0000'],
    ['a line feed', '/v1/threads/t\n'],
    ['an encoded line feed', '/v1/threads/t%0d%0aX:y'],
    ['an encoded DEL', '/v1/t%7f'],
    ['a C1 control', '/v1/t%C2%85'],
    ['a parameter', '/v1/threads;x=y/t-1'],
    ['a parent with a parameter', '/v1/..;/threads'],
    ['an encoded semicolon', '/v1/threads%3Bx'],
    ['a fragment', '/v1/threads#x'],
    ['a fragment in the query', '/v1/threads?a#b'],
    ['an encoded fragment', '/v1/threads%23x'],
    ['an encoded question mark', '/v1/threads%3Fx=y'],
    ['an encoded letter', '/v1/%74hreads/t-1'],
    ['an encoded digit', '/v%31/threads'],
    ['an encoded hyphen', '/v1/threads/t%2D1'],
    ['an encoded tilde', '/v1/%7Eroot'],
    ['a trailing dot', '/v1/threads./t-1'],
    ['a trailing dot at the end', '/v1/threads/t-1.'],
    ['a broken encoding', '/v1/threads/%'],
    ['a broken encoding of one digit', '/v1/threads/%2'],
    ['a broken encoding of letters', '/v1/threads/%zz'],
    ['an encoding of IIS', '/v1/threads/%u002f'],
    ['an overlong slash', '/v1/files/%c0%af'],
    ['an overlong NUL', '/v1/%C0%80'],
    ['a lone surrogate', '/v1/%ED%A0%80'],
    ['octets cut short', '/v1/%C3'],
    ['text that is not encoded', '/v1/café'],
    ['text that is not NFC', '/v1/e%CC%81'],
    ['a wide slash', '/v1/files/a%EF%BC%8Fb'],
    ['a wide backslash', '/v1/files/a%EF%BC%BCb'],
    ['wide dots', '/v1/files/%EF%BC%8E%EF%BC%8E/x'],
    ['a two-dot leader', '/v1/files/%E2%80%A5/x'],
    ['a wide percent sign', '/v1/files/%EF%BC%852F'],
    ['a blank', '/v1/thr eads'],
    ['a tab', '/v1/thr\teads'],
    ['braces', '/v1/{id}'],
    ['a pipe', '/v1/a|b'],
    ['a quote', '/v1/a"b'],
    ['a caret', '/v1/a^b'],
    ['a blank in the query', '/v1/a?b c'],
    ['text in the query', '/v1/a?é'],
    ['a target without end', `/${'a'.repeat(8_192)}`],
  ])('%s is refused', (_name, path) => {
    expect(isRefused(path)).toBe(true);
  });

  it('every octet of one encoded character is judged alike wherever it stands', () => {
    for (let code = 0; code < 256; code++) {
      const octet = `%${code.toString(16).padStart(2, '0')}`;
      const judged = [`/${octet}`, `/a${octet}`, `/a/${octet.toUpperCase()}b/c`].map(isRefused);
      expect(new Set(judged).size, octet).toBe(1);
      // Of ASCII, only what may not or need not stand plain passes encoded.
      if (judged[0] === false)
        expect(String.fromCharCode(code)).toMatch(/[ !"$&'()*+,:<=>@[\]^`{|}]/);
    }
  });

  const piece = fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '%2F',
    '%2f',
    '%2e',
    '%2E',
    '%5c',
    '%5C',
    '%00',
    '%25',
    '%',
    '%4',
    '%zz',
    ';',
    ';a=b',
    '?',
    '#',
    '\\',
    ' ',
    '\t',
    '\n',
    '\u0000',
    'é',
    '%C3%A9',
    '%c0%af',
    '%EF%BC%8F',
    'a',
    'B',
    '0',
    '-',
    '_',
    '~',
    '@',
    ':',
    '+',
    ',',
    '!',
    '$',
    '&',
    "'",
    '(',
    ')',
    '*',
    '=',
    '%40',
    '%20',
    '%21',
    '%2C',
    '|',
    '^',
    '`',
    '{',
    '}',
    '<',
    '>',
    '"',
    '[',
    ']',
    '%7C',
    '%5B',
    'http:',
    'e%CC%81',
    '%E2%80%A5',
    '\u212a',
    '\ud800',
  );
  const target = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`),
    // Mostly good ones, or the laws below would hold of nothing.
    fc
      .array(fc.array(fc.constantFrom('a', '%40', '%C3%A9', '.b', '-', '%20c'), { minLength: 1 }))
      .map((segments) => `/${segments.map((parts) => parts.join('')).join('/')}`),
    fc.webPath(),
    fc.string({ unit: 'binary' }).map((text) => `/${text}`),
  );

  it('whatever is accepted reads the same to everybody', () => {
    let accepted = 0;
    fc.assert(
      fc.property(target, (text) => {
        const one = canonical(text);
        if ('problem' in one) return;
        accepted++;
        const { path } = one;
        // A fixed point, and what was sent.
        expect(canonical(path)).toEqual(one);
        expect(text.startsWith(path)).toBe(true);
        // Node's URL parser, in either way of asking it.
        expect(new URL(`http://a${text}`).pathname).toBe(path);
        expect(new URL(path, 'http://a').href).toBe(`http://a${path}`);
        // A server that splits and then decodes, one that decodes and then splits, one that decodes twice.
        const naive = path.split('/').map(decodeURIComponent);
        expect(decodeURIComponent(path).split('/')).toEqual(naive);
        expect(decodeURI(path).split('/').map(decodeURIComponent)).toEqual(naive);
        // One that walks a file system.
        const decoded = decodeURIComponent(path);
        expect(posix.normalize(decoded)).toBe(decoded);
        expect(decoded).not.toMatch(/[\p{Cc}\\;?#%]/u);
        expect(decoded.normalize('NFKC').split('/')).toHaveLength(naive.length);
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(500);
  });
});

describe('the canonical host and method', () => {
  it.each([
    ['api.example.com', 'api.example.com'],
    ['API.Example.COM', 'api.example.com'],
    ['api.example.com:8443', 'api.example.com'],
    ['localhost', 'localhost'],
    ['a_b.cluster', 'a_b.cluster'],
    ['127.0.0.1:80', '127.0.0.1'],
    ['[::1]:80', '[::1]'],
    ['[2001:DB8::1]', '[2001:db8::1]'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ])('%s is %s', (host, expected) => {
    expect(canonical('/', host)).toMatchObject({ host: expected });
  });

  it.each([
    ['empty', ''],
    ['a dot at its end', 'api.example.com.'],
    ['a dot at its begin', '.example.com'],
    ['an empty label', 'api..example.com'],
    ['user information', 'root@api.example.com'],
    ['a path', 'api.example.com/x'],
    ['two', 'api.example.com, evil.example'],
    ['two without a blank', 'api.example.com,evil.example'],
    ['a blank', ' api.example.com'],
    ['a line feed', 'api.example.com\n'],
    ['encoded', 'api%2eexample.com'],
    ['no number as its port', 'a:x'],
    ['an empty port', 'a:'],
    ['two ports', 'a:1:2'],
    ['a port without end', 'a:123456'],
    ['a Kelvin sign', '\u212aelvin.example'],
    ['a dotless i', '\u0131.example'],
    ['wide letters', '\uff41pi.example.com'],
    ['not encoded', 'bücher.example'],
    ['an address by one number', '2130706433'],
    ['a short address', '127.1'],
    ['an address in octal', '0177.0.0.1'],
    ['an address in hex', '0x7f.0.0.1'],
    ['a number that is no address', '1.2.3.256'],
    ['an address with zeros', '[0:0:0:0:0:0:0:1]'],
    ['an address with an old one in it', '[::ffff:1.2.3.4]'],
    ['half an address', '[::1'],
    ['no address', '[::::]'],
  ])('a host that is %s is refused', (_name, host) => {
    expect(canonical('/', host)).toHaveProperty('problem');
  });

  it('whatever is accepted is the host that a URL parser reads', () => {
    const piece = fc.constantFrom(
      'a',
      'Z',
      '0',
      '1',
      '9',
      '.',
      '..',
      '-',
      '_',
      ':',
      ':80',
      '[',
      ']',
      '::',
      'x',
      '0x',
      'xn--',
      '\u212a',
      'é',
      '@',
      '/',
      ',',
      ' ',
      '%41',
      '256',
      'ff',
      '127',
    );
    const host = fc.oneof(
      fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join('')),
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().map((address) => `[${address}]`),
    );
    let accepted = 0;
    fc.assert(
      fc.property(host, (text) => {
        const one = canonical('/', text);
        if ('problem' in one) return;
        accepted++;
        expect(canonical('/', one.host)).toEqual(one);
        expect(new URL(`http://${one.host}/`).hostname).toBe(one.host);
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(1_000);
  });

  it.each(['', 'get', 'Get', 'GET ', 'GET\n', 'G-T', 'M-SEARCH', 'GÉT', 'X'.repeat(33)])(
    'the method %j is refused',
    (method) => {
      expect(canonical('/', 'a', method)).toHaveProperty('problem');
    },
  );
});

// ── bytes ─────────────────────────────────────────────────────────────────────────────────────────

const varint = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(Math.floor(value / 0x80))];
const field = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes]);
const text = (number: number, value: string): Buffer => field(number, Buffer.from(value));
/** A CheckRequest around the bytes of an HttpRequest. */
const around = (http: Buffer): Buffer => field(1, field(4, field(2, http)));

const METHOD_PATH_HOST = Buffer.concat([text(2, 'GET'), text(4, '/healthz'), text(5, 'a')]);
/** -1 as an int64. */
const MINUS_ONE = Buffer.from([...Array.from({ length: 9 }, () => 0xff), 0x01]);

const word = fc.string({ unit: 'grapheme', maxLength: 40 });
const dictionary = fc.dictionary(word, word, { maxKeys: 5 });
const metadata = fc.dictionary(
  word,
  fc.dictionary(word, fc.oneof(word, fc.boolean(), fc.integer(), fc.constant(null)), {
    maxKeys: 3,
  }),
  { maxKeys: 3 },
);
const http = fc.record({
  id: word,
  method: fc.oneof(fc.constantFrom('GET', 'POST', 'DELETE'), word),
  path: fc.oneof(fc.constantFrom('/v1/threads/t', '/healthz', '/v1/files/a/b'), word),
  host: fc.oneof(fc.constant('api.example.com'), word),
  headers: dictionary,
  principal: word,
  context: dictionary,
  metadata,
  routeMetadata: metadata,
});

describe('the codec', () => {
  it('reads what a general codec writes', () => {
    fc.assert(
      fc.property(http, (one) => {
        const read = decodeQuestion(question(one));
        const { headers, context, metadata, routeMetadata, ...plain } = one;
        expect(read).toMatchObject(plain);
        const folded = new Map<string, string[]>();
        for (const [name, value] of Object.entries(headers)) {
          const lower = name.toLowerCase();
          folded.set(lower, [...(folded.get(lower) ?? []), value]);
        }
        expect(read?.headers).toEqual(folded);
        expect(read?.context).toEqual(new Map(Object.entries(context)));
        const entries = (all: Iterable<readonly [string, object]>): unknown =>
          [...all].map(([filter, values]) => [filter, Object.entries(values)]);
        expect(entries(read?.metadata ?? [])).toEqual(entries(Object.entries(metadata)));
        expect(entries(read?.routeMetadata ?? [])).toEqual(entries(Object.entries(routeMetadata)));
      }),
      { numRuns: 1_000 },
    );
  });

  it('a general codec reads what it writes', () => {
    const headers = fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z][a-z-]{0,20}$/), word), {
      selector: ([name]) => name,
      maxLength: 5,
    });
    const facts = fc.dictionary(word, fc.oneof(word, fc.boolean()), { maxKeys: 5 });
    fc.assert(
      fc.property(headers, facts, word, (set, metadata, body) => {
        const allowed = told(encodeAllowed(set, [], metadata));
        expect(allowed).toMatchObject({ allowed: true, code: 0, remove: [] });
        expect(allowed.set).toEqual(Object.fromEntries(set));
        expect(Object.entries(allowed.metadata)).toEqual(Object.entries(metadata));
        const denied = told(encodeDenied(7, 403, set, body, metadata));
        expect(denied).toMatchObject({ allowed: false, code: 7, status: 403, body });
        expect(denied.set).toEqual(Object.fromEntries(set));
        const failed = told(encodeFailed(14, 503, set, body, metadata));
        expect(failed).toMatchObject({ allowed: false, failed: true, code: 14, status: 503, body });
        expect(Object.entries(failed.metadata)).toEqual(Object.entries(metadata));
      }),
      { numRuns: 1_000 },
    );
  });

  it('`status` is there in an allowed answer, byte for byte', () => {
    expect(encodeAllowed([], [], {}).toString('hex')).toBe('0a001a002200');
    expect(encodeDenied(7, 403, [], '', {}).toString('hex')).toBe('0a02080712050a030893032200');
    // A status that is not 0 first: an Envoy that does not know the field after it denies.
    expect(encodeFailed(14, 503, [], '', {}).toString('hex')).toBe('0a02080e2a050a0308f7032200');
  });

  it('passes over what it does not know, `size: -1` of a request without a length among it', () => {
    const size = Buffer.concat([Buffer.from([9 * 8]), MINUS_ONE]);
    const time = field(1, Buffer.concat([Buffer.from([8]), MINUS_ONE]));
    const unknown = Buffer.concat([
      Buffer.from([...varint(500 * 8), 5]),
      Buffer.from([...varint(501 * 8 + 1), 1, 2, 3, 4, 5, 6, 7, 8]),
      Buffer.from([...varint(502 * 8 + 5), 1, 2, 3, 4]),
      text(503, 'x'),
    ]);
    const body = Buffer.concat([unknown, METHOD_PATH_HOST, size, text(11, 'body'), text(7, 'q')]);
    const message = Buffer.concat([
      unknown,
      field(1, Buffer.concat([field(4, Buffer.concat([time, field(2, body), unknown])), unknown])),
    ]);
    expect(decodeQuestion(message)).toMatchObject({ method: 'GET', path: '/healthz', host: 'a' });
  });

  it('headers one by one: raw bytes, duplicates kept apart, `headers` beside them', () => {
    const bytes = question({
      headers: { 'x-api-key': 'one' },
      header_map: [
        ['x-api-key', 'two'],
        ['X-Other', 'a,b'],
        ['x-other', ''],
      ],
    });
    const read = decodeQuestion(bytes);
    expect(read?.headers.get('x-api-key')).toEqual(['one', 'two']);
    expect(read?.headers.get('x-other')).toEqual(['a,b', '']);
  });

  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`h${at}`, 'v']));
  it.each<readonly [string, Http]>([
    ['60,000 headers', { headers: many(60_000) }],
    ['headers one by one', { header_map: Object.entries(many(60_000)) }],
    ['context extensions', { context: many(60_000) }],
    ['metadata of 300 KB', { metadata: { filter: many(30_000) } }],
    ['metadata of a route', { routeMetadata: { filter: many(30_000) } }],
    ['all of them a little', { headers: many(15_000), context: many(15_000) }],
    ['one long header', { headers: { 'x-long': 'v'.repeat(1_100_000) } }],
  ])('ADM-11: more than can be read in a moment is refused: %s', (_what, http) => {
    expect(() => decodeQuestion(question(http))).toThrow('have more than 1048576 bytes');
  });

  it('what Envoy sends at most where nobody told it otherwise is read', () => {
    const headers = { ...many(1_000), 'x-long': 'v'.repeat(500_000) };
    expect(decodeQuestion(question({ headers }))?.headers.size).toBe(1_001);
  });

  it('parts that come in pieces are put together as a general codec does', () => {
    const message = Buffer.concat([
      around(text(2, 'POST')),
      around(Buffer.concat([text(4, '/a'), text(2, 'GET')])),
      field(1, field(10, Buffer.concat([text(1, 'k'), text(2, 'v')]))),
      field(1, field(10, Buffer.concat([text(1, 'k'), text(2, 'w')]))),
    ]);
    expect(decodeQuestion(message)).toMatchObject({ method: 'GET', path: '/a' });
    expect(decodeQuestion(message)?.context).toEqual(new Map([['k', 'w']]));
  });
});

// ── answers, with a service that says what the test wants ─────────────────────────────────────────

const catalog = parseCatalog(readSource(join(PACKAGE_ROOT, 'config/actions.yaml')));
const parsed = (file: object): RoutesFile =>
  parseRoutes(parseSource('routes.yaml', stringify(file)), catalog);

type Answering = (call: CheckCall) => CheckAnswer | Failure;

interface Stand {
  readonly calls: CheckCall[];
  readonly refusals: Refusal[];
  readonly raw: (bytes: Buffer) => Promise<Told>;
  readonly ask: (http: Http) => Promise<Told>;
}

function decided(call: CheckCall, reason: Reason, more: Partial<CheckAnswer> = {}): CheckAnswer {
  return {
    id: call.id,
    decisionId: 'd-1',
    revision: 7,
    ageMs: 1,
    decision: {
      allowed: reason === 'ALLOWED',
      reason,
      actionRule: undefined,
      objectRule: undefined,
      shadow: undefined,
      // What a decision tells beside is of no matter here.
    } as unknown as CheckAnswer['decision'],
    ...more,
  };
}

const whoAsks: Answering = (call) =>
  decided(call, 'ALLOWED', {
    ...(call.request.subject === undefined ? {} : { subject: `user:${call.request.subject.id}` }),
    ...(call.credential === undefined ? {} : { keyId: 'k' }),
  });

function stand(file: object, answer: Answering = whoAsks, tenant: string | null = TENANT): Stand {
  const calls: CheckCall[] = [];
  /** The credential that was sent, by what it was identified as. */
  const sent = new Map<Identified['claim'], Credential>();
  const refusals: Refusal[] = [];
  const never = (): never => {
    throw new Error('Envoy asks nothing of the kind');
  };
  const service: Service = {
    refuse(refusal) {
      refusals.push(refusal);
      return { decisionId: 'd-0', revision: 0, ageMs: 0 };
    },
    check(call) {
      const { credential } = call;
      const isIdentified = credential !== undefined && 'claim' in credential;
      calls.push({ ...call, credential: isIdentified ? sent.get(credential.claim) : credential });
      return answer(call);
    },
    batch: never,
    filter: never,
    explain: never,
  };
  const routes = compile(parsed(file));
  const options: ExtAuthzOptions = {
    service,
    routes: () => routes,
    identify(credential) {
      const claim =
        tenant === null
          ? ({ unproven: 'malformed' } as const)
          : { tenant, via: '', proves: () => true, problemOf: () => undefined };
      sent.set(claim, credential);
      return claim;
    },
  };
  const method = extAuthzMethod(options);
  const raw = async (bytes: Buffer): Promise<Told> => told(await method(bytes, 1_000));
  return { calls, refusals, raw, ask: (one) => raw(question(one)) };
}

const key = { 'x-api-key': 'k' };

describe('never an answer that allows by accident', () => {
  it('random messages: denied, or allowed because a route says so', async () => {
    const { ask, calls } = stand(ROUTES);
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(http, fc.boolean(), async (one, withKey) => {
        calls.length = 0;
        const answer = await ask(withKey ? { ...one, headers: { ...one.headers, ...key } } : one);
        if (!answer.allowed) return;
        allowed++;
        expect(one.path === '/healthz' || (withKey && calls.length === 1)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
    expect(allowed).toBeGreaterThan(10);
  });

  it('random bytes, and good messages with bytes changed or cut: denied, or what they now say', async () => {
    const { raw, calls } = stand(ROUTES);
    const good = question({
      path: '/v1/threads/t',
      headers: { ...key, accept: '*/*' },
      principal: 'p',
      context: { a: 'b' },
      metadata: { f: { a: { b: ['c', 1] } } },
    });
    const changed = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, byte] of changes) bytes[at] = byte;
        return bytes;
      });
    const cut = fc.nat(good.length).map((length) => good.subarray(0, length));
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const wrapped = random.map((bytes) => around(bytes));
    let denied = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, cut, random, wrapped), async (bytes) => {
        calls.length = 0;
        const answer = await raw(bytes);
        if (!answer.allowed) denied++;
        // An allowed answer was asked for, or the route is public.
        if (answer.allowed && calls.length === 0) expect(answer.metadata).toEqual({ public: true });
      }),
      { numRuns: 3_000 },
    );
    expect(denied).toBeGreaterThan(1_000);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['attributes without a request', field(1, Buffer.alloc(0))],
    ['a request that is none of HTTP', field(1, field(4, Buffer.alloc(0)))],
    ['an empty HTTP request', around(Buffer.alloc(0))],
    ['no host', around(Buffer.concat([text(2, 'GET'), text(4, '/healthz')]))],
    ['no method', around(Buffer.concat([text(4, '/healthz'), text(5, 'a')]))],
    ['no path', around(Buffer.concat([text(2, 'GET'), text(5, 'a')]))],
    [
      'a path that is not UTF-8',
      around(Buffer.concat([METHOD_PATH_HOST, field(4, Buffer.from([0x2f, 0xff]))])),
    ],
    ['a path that is a number', around(Buffer.concat([METHOD_PATH_HOST, Buffer.from([4 * 8, 1])]))],
    ['a group', Buffer.concat([around(METHOD_PATH_HOST), Buffer.from([3])])],
    ['a length beyond the end', Buffer.from([0x0a, 0x7f, 0x22])],
    [
      'metadata nested without end',
      question({
        path: '/healthz',
        metadata: { f: JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) as object },
      }),
    ],
  ])('%s: 400', async (_name, bytes) => {
    const { raw, refusals } = stand(ROUTES);
    expect(await raw(bytes)).toMatchObject({ allowed: false, status: 400, code: 7 });
    expect(refusals).toMatchObject([{ reason: 'INVALID_ARGUMENT' }]);
  });
});

describe('what is told of each reason', () => {
  const reasons: readonly (readonly [Reason, number, number])[] = [
    ['ACTION_DENIED', 403, 7],
    ['NO_GRANT', 403, 7],
    ['UNKNOWN_ACTION', 403, 7],
    ['SUBJECT_INACTIVE', 403, 7],
    ['TENANT_MISMATCH', 403, 7],
    ['KEY_INVALID', 401, 16],
    ['OBJECT_HIDDEN', 404, 7],
    ['STALE', 403, 7],
    ['INTERNAL', 403, 7],
  ];
  it.each(reasons)('%s: %i', async (reason, http_, code) => {
    const { ask } = stand(ROUTES, (call) => decided(call, reason, { subject: 'user:alice' }));
    const answer = await ask({ path: '/v1/threads/secret-thread', headers: key });
    expect(answer).toMatchObject({ allowed: false, status: http_, code });
    expect(answer.metadata).toMatchObject({ reason, decision_id: 'd-1', subject: 'user:alice' });
    expect(answer.set['content-type']).toBe('application/problem+json');
    expect('www-authenticate' in answer.set).toBe(http_ === 401);
    // Neither who, nor what, nor which rule, nor that there is a reason at all.
    expect(answer.body).not.toMatch(/alice|secret|thread|grant|reason|acme|revision|key/i);
    expect(JSON.parse(answer.body)).toMatchObject({ type: 'about:blank', status: http_ });
  });

  it('two hidden objects cannot be told apart, nor from each other request', async () => {
    let number = 0;
    const { ask } = stand(ROUTES, (call) =>
      decided(call, 'OBJECT_HIDDEN', { decisionId: `d-${number++}` }),
    );
    const seen = await Promise.all(
      ['/v1/threads/a', '/v1/threads/b', '/v1/memories/secret'].map(async (path) => {
        const { metadata: _ours, ...toClient } = await ask({ path, headers: key });
        return toClient;
      }),
    );
    expect(new Set(seen.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(seen[0]?.body).toBe('{"type":"about:blank","title":"Not Found","status":404}');
  });

  it('429 says when to come again', async () => {
    const limited = { failure: 'limited', message: 'too often', retryAfterMs: 1_001 } as const;
    const { ask } = stand(ROUTES, () => limited);
    const answer = await ask({ path: '/v1/threads/a', headers: key });
    expect(answer).toMatchObject({ status: 429, set: { 'retry-after': '2' } });
  });

  it('ADM-11: too many headers are 400 with the reason, and are recorded', async () => {
    const { ask, refusals } = stand(ROUTES, () => {
      throw new Error('is not asked');
    });
    const headers = Object.fromEntries(Array.from({ length: 60_000 }, (_, at) => [`h${at}`, 'v']));
    const answer = await ask({ path: '/v1/memories/a', headers });
    expect(answer.status).toBe(400);
    expect(answer.metadata['detail']).toContain('let Envoy send fewer');
    expect(refusals).toEqual([expect.objectContaining({ reason: 'INVALID_ARGUMENT', action: '' })]);
  });

  it('a question that is malformed is 400, and is recorded', async () => {
    const { ask, refusals } = stand(ROUTES, () => ({
      failure: 'invalid',
      problem: { field: 'resource.id', value: 'secret', problem: 'has white space at an end' },
    }));
    const answer = await ask({ path: '/v1/memories/a%20', headers: key, id: 'r-9' });
    expect(answer.status).toBe(400);
    expect(answer.body).not.toContain('white');
    expect(answer.metadata['detail']).toBe('has white space at an end');
    expect(refusals).toEqual([
      { id: 'r-9', reason: 'INVALID_ARGUMENT', action: 'GET /v1/memories/a%20' },
    ]);
  });

  it.each([
    ['stale', { failure: 'unavailable', message: 'old', reason: 'STALE' }, 14, 'STALE'],
    ['away', { failure: 'unavailable', message: 'old', reason: 'UNAVAILABLE' }, 14, 'UNAVAILABLE'],
    ['failing', { failure: 'internal', message: 'see the log' }, 13, 'INTERNAL'],
  ] as const)(
    '%s: an RPC error, so that Envoy does what it is told',
    async (_name, failure, code, reason) => {
      const { ask } = stand(ROUTES, () => failure);
      const error: unknown = await ask({ path: '/v1/threads/a', headers: key }).catch(
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(RpcError);
      expect(error).toMatchObject({ code });
      expect((error as RpcError).statusDetails?.toString('latin1')).toContain(reason);
    },
  );

  it.each([
    ['stale', { failure: 'unavailable', message: 'old', reason: 'STALE' }, 14, 503, 'STALE'],
    [
      'away',
      { failure: 'unavailable', message: 'old', reason: 'UNAVAILABLE' },
      14,
      503,
      'UNAVAILABLE',
    ],
    ['failing', { failure: 'internal', message: 'see the log' }, 13, 500, 'INTERNAL'],
  ] as const)(
    '%s: an error response where the file says so, with its cause for Envoy alone',
    async (_name, failure, code, status, reason) => {
      const { ask } = stand({ ...ROUTES, failures: 'error_response' }, () => failure);
      const answer = await ask({ path: '/v1/threads/a', headers: key });
      expect(answer).toMatchObject({ failed: true, code, status, allowed: false });
      expect(answer.metadata).toEqual({
        reason,
        detail: expect.stringContaining(failure.message) as string,
      });
      expect(answer.set).toEqual({ 'content-type': 'application/problem+json' });
      expect(JSON.parse(answer.body)).toMatchObject({ type: 'about:blank', status });
      expect(answer.body).not.toContain(failure.message);
    },
  );

  it('refusals are recorded without the query, and no longer than need be', async () => {
    const { ask, refusals } = stand(ROUTES);
    await ask({ path: '/nowhere?token=hunter2', headers: key });
    await ask({ path: `/v1//${'a'.repeat(60_000)}` });
    expect(refusals[0]).toMatchObject({ reason: 'UNKNOWN_ACTION', action: 'GET /nowhere' });
    expect(refusals[1]?.action.length).toBeLessThanOrEqual(512);
  });
});

describe('identities', () => {
  const route = {
    match: { methods: ['GET'], path: '/a' },
    tenant: TENANT,
    action: 'kb:read',
  };
  const file = (...identity: readonly object[]): object => ({ identity, routes: [route] });
  const jwt = 'envoy.filters.http.jwt_authn';

  it.each<readonly [string, object, Http, object]>([
    [
      'an API key',
      { api_key: 'x-api-key' },
      { headers: { 'x-api-key': 's3' } },
      { credential: { apiKey: 's3' } },
    ],
    [
      'a bearer token',
      { bearer: 'authorization' },
      { headers: { authorization: 'Bearer t.o.k' } },
      { credential: { bearerToken: 't.o.k' } },
    ],
    [
      'a bearer token in small letters',
      { bearer: 'authorization' },
      { headers: { authorization: 'bearer t' } },
      { credential: { bearerToken: 't' } },
    ],
    [
      'a session header',
      { session: 'x-session' },
      { headers: { 'x-session': 's' } },
      { credential: { sessionToken: 's' } },
    ],
    [
      'a session cookie',
      { session_cookie: 'sid' },
      { headers: { cookie: 'a=b; sid=tok=en; c' } },
      { credential: { sessionToken: 'tok=en' } },
    ],
    [
      'a certificate',
      { mtls: { prefix: 'spiffe://x/user/' } },
      { principal: 'spiffe://x/user/alice' },
      { request: { subject: { type: 'user', id: 'alice' } } },
    ],
    [
      'verified metadata',
      { metadata: { filter: jwt, claim: ['jwt', 'sub'] } },
      { metadata: { [jwt]: { jwt: { sub: 'alice' } } } },
      { request: { subject: { type: 'user', id: 'alice' } } },
    ],
    [
      'metadata of the route, which its configuration says',
      { route_metadata: { namespace: 'who', claim: ['user', 'id'] } },
      { routeMetadata: { who: { user: { id: 'alice' } } } },
      { request: { subject: { type: 'user', id: 'alice' } } },
    ],
    [
      'a header of a trusted listener',
      { trusted_header: 'x-user', listeners: ['in', 'other'] },
      { headers: { 'x-user': 'alice' }, context: { postern_listener: 'in' } },
      { request: { subject: { type: 'user', id: 'alice' } } },
    ],
  ])('%s', async (_name, source, asked, expected) => {
    const { ask, calls } = stand(file(source));
    expect(await ask({ path: '/a', ...asked })).toMatchObject({ allowed: true });
    expect(calls).toMatchObject([expected]);
  });

  it.each<readonly [string, object, Http]>([
    ['no header', { api_key: 'x-api-key' }, {}],
    ['another scheme', { bearer: 'authorization' }, { headers: { authorization: 'Basic Zm9v' } }],
    [
      'a bearer without a token',
      { bearer: 'authorization' },
      { headers: { authorization: 'Bearer ' } },
    ],
    [
      'a bearer with two words',
      { bearer: 'authorization' },
      { headers: { authorization: 'Bearer a b' } },
    ],
    [
      'a cookie of another name',
      { session_cookie: 'sid' },
      { headers: { cookie: 'asid=x; sid2=y; SID=z' } },
    ],
    ['no certificate', { mtls: { prefix: 'spiffe://x/user/' } }, {}],
    [
      'a certificate of others',
      { mtls: { prefix: 'spiffe://x/user/' } },
      { principal: 'spiffe://evil/spiffe://x/user/alice' },
    ],
    [
      'a certificate of nobody',
      { mtls: { prefix: 'spiffe://x/user/' } },
      { principal: 'spiffe://x/user/' },
    ],
    [
      'the same of a filter, where metadata of the route is meant',
      { route_metadata: { namespace: jwt, claim: ['sub'] } },
      { metadata: { [jwt]: { sub: 'alice' } } },
    ],
    [
      'the same of the route, where a filter is meant',
      { metadata: { filter: jwt, claim: ['sub'] } },
      { routeMetadata: { [jwt]: { sub: 'alice' } } },
    ],
    [
      'metadata of another filter',
      { metadata: { filter: jwt, claim: ['jwt', 'sub'] } },
      { metadata: { other: { jwt: { sub: 'alice' } } } },
    ],
    [
      'a claim that is no text',
      { metadata: { filter: jwt, claim: ['jwt', 'sub'] } },
      { metadata: { [jwt]: { jwt: { sub: 7 } } } },
    ],
    [
      'a claim that everything inherits',
      { metadata: { filter: jwt, claim: ['constructor', 'name'] } },
      { metadata: { [jwt]: {} } },
    ],
    [
      'a claim in a text',
      { metadata: { filter: jwt, claim: ['jwt', '0'] } },
      { metadata: { [jwt]: { jwt: 'alice' } } },
    ],
    [
      'the header without a mark',
      { trusted_header: 'x-user', listeners: ['in'] },
      { headers: { 'x-user': 'alice' } },
    ],
    [
      'the header of another listener',
      { trusted_header: 'x-user', listeners: ['in'] },
      { headers: { 'x-user': 'alice' }, context: { postern_listener: 'out' } },
    ],
    [
      'a mark that the client sends',
      { trusted_header: 'x-user', listeners: ['in'] },
      {
        headers: { 'x-user': 'alice', postern_listener: 'in' },
        metadata: { postern_listener: { postern_listener: 'in' } },
      },
    ],
  ])('%s is none: 401', async (_name, source, asked) => {
    const { ask, calls, refusals } = stand(file(source));
    expect(await ask({ path: '/a', ...asked })).toMatchObject({ status: 401, code: 16 });
    expect(calls).toEqual([]);
    expect(refusals).toMatchObject([{ reason: 'KEY_INVALID' }]);
  });

  it.each<readonly [string, object, Http]>([
    ['two keys joined by Envoy', { api_key: 'x-api-key' }, { headers: { 'x-api-key': 'a,b' } }],
    ['the same key twice', { api_key: 'x-api-key' }, { headers: { 'x-api-key': 'a, a' } }],
    [
      'two keys one by one',
      { api_key: 'x-api-key' },
      {
        header_map: [
          ['x-api-key', 'a'],
          ['x-api-key', 'b'],
        ],
      },
    ],
    [
      'two keys in two cases',
      { api_key: 'x-api-key' },
      {
        header_map: [
          ['X-API-Key', 'a'],
          ['x-api-key', 'b'],
        ],
      },
    ],
    [
      'two bearer tokens',
      { bearer: 'authorization' },
      { headers: { authorization: 'Bearer a, Bearer b' } },
    ],
    [
      'a bearer token and another',
      { bearer: 'authorization' },
      {
        header_map: [
          ['authorization', 'Bearer a'],
          ['authorization', 'Basic b'],
        ],
      },
    ],
    ['two sessions', { session: 'x-session' }, { headers: { 'x-session': 'a,' } }],
    ['a cookie twice', { session_cookie: 'sid' }, { headers: { cookie: 'sid=a; sid=b' } }],
    ['a cookie twice alike', { session_cookie: 'sid' }, { headers: { cookie: 'sid=a;sid=a' } }],
    [
      'a cookie twice, once with a blank',
      { session_cookie: 'sid' },
      { headers: { cookie: 'sid=a; sid =b' } },
    ],
    [
      'a cookie in two lines that Envoy joined',
      { session_cookie: 'sid' },
      { headers: { cookie: 'sid=a; b=c,sid=b' } },
    ],
    [
      'a cookie in the second of two lines that Envoy joined',
      { session_cookie: 'sid' },
      { headers: { cookie: 'b=c,sid=b' } },
    ],
    [
      'a cookie in two lines',
      { session_cookie: 'sid' },
      {
        header_map: [
          ['cookie', 'sid=a'],
          ['cookie', 'sid=b'],
        ],
      },
    ],
    [
      'two users of a trusted listener',
      { trusted_header: 'x-user', listeners: ['in'] },
      { headers: { 'x-user': 'alice,root' }, context: { postern_listener: 'in' } },
    ],
  ])('%s: 400', async (_name, source, asked) => {
    const { ask, calls } = stand(file(source));
    expect(await ask({ path: '/a', ...asked })).toMatchObject({ status: 400 });
    expect(calls).toEqual([]);
  });

  it('the first that is there counts, and one that is bad is not passed over', async () => {
    const { ask, calls } = stand(
      file({ mtls: { prefix: 'u/' } }, { api_key: 'x-api-key' }, { bearer: 'authorization' }),
    );
    const both = { 'x-api-key': 'k', authorization: 'Bearer b' };
    await ask({ path: '/a', headers: both, principal: 'u/alice' });
    await ask({ path: '/a', headers: both, principal: 'other/alice' });
    await ask({ path: '/a', headers: { authorization: 'Bearer b' } });
    await ask({ path: '/a', headers: { ...both, 'x-api-key': '' } });
    expect(calls.map(({ credential, request }) => credential ?? request.subject)).toEqual([
      { type: 'user', id: 'alice' },
      { apiKey: 'k' },
      { bearerToken: 'b' },
      { apiKey: '' },
    ]);
    expect((await ask({ path: '/a', headers: { ...both, 'x-api-key': 'a,b' } })).status).toBe(400);
  });
});

describe('what reaches the upstream', () => {
  const route = { match: { methods: ['GET'], path: '/a' }, tenant: TENANT, action: 'kb:read' };
  const open = { match: { methods: ['GET'], path: '/open' }, public: true };
  const OURS = ['x-postern-subject', 'x-postern-tenant', 'x-postern-key', 'x-postern-decision'];

  it.each(['/a', '/open'])('of %s: no identity header that the client sent', async (path) => {
    const { ask } = stand({ identity: [{ api_key: 'x-api-key' }], routes: [route, open] });
    const forged = Object.fromEntries(OURS.map((name) => [name, 'root']));
    const { set, remove } = await ask({ path, headers: { ...key, ...forged } });
    // Each is either replaced or removed.
    expect([...Object.keys(set), ...remove]).toEqual(expect.arrayContaining(OURS));
    expect(Object.values(set)).not.toContain('root');
    for (const name of [
      'x-envoy-auth-failure-mode-allowed',
      'x-envoy-original-path',
      'x-forwarded-uri',
      'x-http-method-override',
      'x-original-method',
      'x-original-uri',
      'x-original-url',
      'x-rewrite-uri',
      'x-rewrite-url',
    ])
      expect(remove).toContain(name);
  });

  it('so are those that a server with CGI names takes for ours', async () => {
    const { ask } = stand({ identity: [{ api_key: 'x-api-key' }], routes: [route, open] });
    const forged = ['x_postern_subject', 'x-postern_tenant', 'x_original_uri', 'x_http-method'];
    const headers = Object.fromEntries([...forged, 'x_other'].map((name) => [name, 'root']));
    for (const path of ['/a', '/open']) {
      const { remove } = await ask({ path, headers: { ...key, ...headers } });
      expect(remove).toEqual(expect.arrayContaining(forged));
      expect(remove).not.toContain('x_other');
    }
  });

  it('and for the one that a trusted listener, or the client, says who it is by', async () => {
    const identity = [
      { trusted_header: 'x-user-id', listeners: ['edge'] },
      { api_key: 'x-api-key' },
    ];
    const { ask } = stand({ identity, routes: [route] });
    const context = { postern_listener: 'edge' };
    const headers = { 'x-user-id': 'alice', x_user_id: 'root', 'x-user_id': 'root' };
    const trusted = await ask({ path: '/a', context, headers });
    expect(trusted.remove).toEqual(expect.arrayContaining(['x_user_id', 'x-user_id']));
    expect(trusted.remove).not.toContain('x-user-id');
    const own = await ask({ path: '/a', headers: { ...key, ...headers, x_api_key: 'other' } });
    expect(own.remove).toEqual(
      expect.arrayContaining(['x-user-id', 'x_user_id', 'x-user_id', 'x_api_key']),
    );
    expect(own.remove).not.toContain('x-api-key');
    // A name that has an underscore itself has a twin without.
    const named = stand({
      identity: [{ trusted_header: 'x_user', listeners: ['edge'] }],
      routes: [route],
    });
    const twin = await named.ask({
      path: '/a',
      context,
      headers: { x_user: 'alice', 'x-user': 'root', 'x-other': '1' },
    });
    expect(twin.remove).toContain('x-user');
    expect(twin.remove).not.toContain('x_user');
    expect(twin.remove).not.toContain('x-other');
  });

  it('a list of headers to remove takes the place of the default one', async () => {
    const identity = [{ api_key: 'x-api-key' }];
    const { ask } = stand({ identity, routes: [route], remove_headers: ['x-mine'] });
    const { remove } = await ask({ path: '/a', headers: key });
    expect(remove).toContain('x-mine');
    expect(remove).not.toContain('x-original-uri');
  });

  it('under other names, too', async () => {
    const headers = { subject: 'x-who', tenant: 'x-org', key: 'x-key', decision: 'x-why' };
    const { ask } = stand({ headers, identity: [{ mtls: { prefix: 'u/' } }], routes: [route] });
    const { set, remove } = await ask({ path: '/a', principal: 'u/alice' });
    expect(set).toEqual({ 'x-who': 'user:alice', 'x-org': TENANT, 'x-why': 'd-1' });
    expect(remove).toContain('x-key');
  });

  it('ids of any text are percent-encoded, so that no header is cut, split or folded', async () => {
    const id = 'a,b\u00e9 %0d\r\nx: y\ud83d\ude00';
    const { ask } = stand({ identity: [{ mtls: { prefix: 'u/' } }], routes: [route] }, (call) =>
      decided(call, 'ALLOWED', { subject: `user:${id}`, keyId: 'a,b' }),
    );
    const { set } = await ask({ path: '/a', principal: 'u/x' });
    expect(set['x-postern-subject']).toMatch(/^[\x21-\x2b\x2d-\x7e]+$/);
    expect(decodeURIComponent(set['x-postern-subject'] ?? '')).toBe(`user:${id}`);
    expect(set['x-postern-key']).toBe('a%2Cb');
  });

  it('a trusted header is removed where nothing vouches for it', async () => {
    const identity = [{ api_key: 'x-api-key' }, { trusted_header: 'x-user', listeners: ['in'] }];
    const { ask } = stand({ identity, routes: [route, open] });
    const headers = { ...key, 'x-user': 'root' };
    for (const path of ['/a', '/open'])
      expect((await ask({ path, headers })).remove).toContain('x-user');
    const trusted = await ask({ path: '/a', headers, context: { postern_listener: 'in' } });
    expect(trusted.remove).not.toContain('x-user');
  });

  const all = [
    { api_key: 'x-api-key' },
    { bearer: 'authorization' },
    { session: 'x-session' },
    { session_cookie: 'sid' },
  ];

  it('credentials are forwarded unless the file says otherwise; then all are taken off', async () => {
    const cookie = 'a=b; sid=secret; c=d';
    const headers = { ...key, authorization: 'Bearer b', 'x-session': 's', cookie };
    const kept = await stand({ identity: all, routes: [route, open] }).ask({ path: '/a', headers });
    expect(kept.remove).toEqual(
      expect.not.arrayContaining(['x-api-key', 'authorization', 'cookie']),
    );
    const { ask } = stand({ identity: all, forward_credentials: false, routes: [route, open] });
    for (const path of ['/a', '/open']) {
      const { set, remove } = await ask({ path, headers });
      expect(remove).toEqual(expect.arrayContaining(['x-api-key', 'authorization', 'x-session']));
      expect(set['cookie']).toBe('a=b; c=d');
    }
    const alone = await ask({ path: '/a', headers: { cookie: 'sid=secret' } });
    expect(alone.remove).toContain('cookie');
    expect(JSON.stringify(alone)).not.toContain('secret');
  });
});

describe('routes', () => {
  const identity = [{ api_key: 'x-api-key' }];
  const on = (path: string, more: object = {}, ...methods: readonly string[]): object => ({
    match: { methods: methods.length === 0 ? ['GET'] : methods, path, ...more },
    action: 'kb:read',
    resource: { id: path.replaceAll('*', '') },
  });
  const routed = async (routes: readonly object[], one: Http): Promise<string | number> => {
    const { ask, calls } = stand({ identity, routes });
    const answer = await ask({ ...one, headers: { ...key, ...one.headers } });
    return calls[0]?.request.resource.id ?? answer.status ?? 0;
  };

  it('what no route names is denied, and recorded', async () => {
    const { ask, refusals, calls } = stand({ identity, routes: [on('/a')] });
    for (const path of ['/', '/b', '/a/', '/A', '/a/b', '/aa'])
      expect(await ask({ path, headers: key })).toMatchObject({
        status: 403,
        metadata: { reason: 'NO_ROUTE' },
      });
    expect(calls).toEqual([]);
    expect(refusals).toHaveLength(6);
  });

  it.each(['HEAD', 'POST', 'OPTIONS', 'CONNECT', 'TRACE', 'FOO'])(
    '%s is not implied by GET',
    async (method) => {
      expect(await routed([on('/a')], { path: '/a', method })).toBe(403);
    },
  );

  it('a route that needs the whole body is shut where Envoy has a part of it, as are words that Envoy never sends', async () => {
    const { ask } = stand({ identity, routes: [{ ...on('/a'), whole_body: true }, on('/b')] });
    const partial = (value: string): Record<string, string> => ({
      ...key,
      'x-envoy-auth-partial-body': value,
    });
    expect(await ask({ path: '/a', headers: partial('false') })).not.toMatchObject({ status: 413 });
    expect(await ask({ path: '/a', headers: key })).not.toMatchObject({ status: 413 });
    expect(await ask({ path: '/b', headers: partial('true') })).not.toMatchObject({ status: 413 });
    for (const value of ['true', 'TRUE', ''])
      expect(await ask({ path: '/a', headers: partial(value) })).toMatchObject({
        status: 413,
        metadata: { reason: 'PARTIAL_BODY' },
      });
  });

  it('captures: one segment, decoded, never empty; the rest: at least one', async () => {
    const routes = [on('/t/{id}'), on('/f/{file*}'), on('/t/{id}/x')];
    expect(await routed(routes, { path: '/t/a%40b%C3%A9' })).toBe('/t/a@bé');
    expect(await routed(routes, { path: `/t/${'x'.repeat(250)}` })).toBe(`/t/${'x'.repeat(250)}`);
    expect(await routed(routes, { path: '/t/a/x' })).toBe('/t/a/x');
    expect(await routed(routes, { path: '/f/a/b/c' })).toBe('/f/a/b/c');
    for (const path of ['/t/', '/t', '/f/', '/f', '/t/a/', '/t/a/y'])
      expect(await routed(routes, { path }), path).toBe(403);
  });

  it('plain text before captures; written as it stands, not encoded', async () => {
    const routes = [on('/t/{id}'), on("/t/it's"), on('/x!y')];
    expect(await routed(routes, { path: "/t/it's" })).toBe("/t/it's");
    // The router would take it for the text; an upstream may take it for another.
    expect(await routed(routes, { path: '/t/it%27s' })).toBe(403);
    expect(await routed(routes, { path: '/x%21y' })).toBe(403);
  });

  it('by host, without its port and in any case', async () => {
    const named = {
      ...on('/a', { hosts: ['api.example.com', '[::1]'] }),
      resource: { id: 'named' },
    };
    const routes = [named, on('/a')];
    for (const host of ['api.example.com', 'API.example.com:8443', '[::1]:1'])
      expect(await routed(routes, { path: '/a', host })).toBe('named');
    expect(await routed(routes, { path: '/a', host: 'other.example' })).toBe('/a');
    expect(await routed([named], { path: '/a', host: 'other.example' })).toBe(403);
    for (const host of ['api.example.com.', '[0:0::1]', 'api.example.com,evil'])
      expect(await routed(routes, { path: '/a', host })).toBe(400);
  });

  it('by headers and context, in the order of the file', async () => {
    const routes = [
      { ...on('/a', { headers: { 'x-version': '2' } }), resource: { id: 'two' } },
      { ...on('/a', { context: { zone: 'inner' } }), resource: { id: 'inner' } },
      on('/a'),
    ];
    expect(await routed(routes, { path: '/a', headers: { 'x-version': '2' } })).toBe('two');
    expect(await routed(routes, { path: '/a', context: { zone: 'inner' } })).toBe('inner');
    expect(await routed(routes, { path: '/a', headers: { 'x-version': '2,2' } })).toBe('/a');
    expect(await routed(routes, { path: '/a', headers: { zone: 'inner' } })).toBe('/a');
    expect(await routed(routes.slice(0, 2), { path: '/a' })).toBe(403);
  });

  it('templates: captures, context, metadata, the tenant of the credential, method, host', async () => {
    const { ask, calls } = stand({
      identity,
      routes: [
        {
          match: { methods: ['GET'], path: '/t/{id}/{rest*}' },
          tenant: '{credential.tenant}',
          action: '{context.what}:read',
          resource: {
            type: '{context.what}',
            id: '{host}/{method}/{id}',
            path: 'work.{id}.{rest}',
            attributes: {
              who: '{metadata.f/a/b}',
              where: '{route_metadata.f/a/b}',
              all: ['{id}', 'x{rest}x', 'plain'],
            },
          },
        },
      ],
    });
    const one = {
      path: '/t/i-1/a/b_c',
      headers: key,
      context: { what: 'doc' },
      metadata: { f: { a: { b: 'me' } } },
      routeMetadata: { f: { a: { b: 'here' } } },
    };
    expect(await ask(one)).toMatchObject({ allowed: true });
    const { request } = calls[0] ?? {};
    expect(request).toMatchObject({
      tenant: TENANT,
      action: 'doc:read',
      resource: { type: 'doc', id: 'api.example.com/GET/i-1', path: 'work.i-1.a.b_c' },
    });
    expect([...(request?.resource.attributes ?? [])]).toEqual([
      ['who', ['me']],
      ['where', ['here']],
      ['all', ['i-1', 'xa/b_cx', 'plain']],
    ]);
    // Missing values deny.
    expect(await ask({ ...one, context: {} })).toMatchObject({
      status: 400,
      metadata: { reason: 'MISSING_VALUE' },
    });
    expect(await ask({ ...one, metadata: {} })).toMatchObject({ status: 400 });
    expect(await ask({ ...one, routeMetadata: {} })).toMatchObject({ status: 400 });
    expect(calls).toHaveLength(1);
  });

  it('a credential that names no tenant is none: 401', async () => {
    const { ask, calls } = stand({ identity, routes: [on('/a')] }, whoAsks, null);
    const tenantless = stand({ identity: [{ mtls: { prefix: 'u/' } }], routes: [on('/a')] });
    expect(await ask({ path: '/a', headers: key })).toMatchObject({ status: 401 });
    expect(calls).toEqual([]);
    // A certificate names no tenant; a route that does not name one either is at fault.
    expect(await tenantless.ask({ path: '/a', principal: 'u/x' })).toMatchObject({ status: 400 });
  });

  it.each(['a.b', 'a%20b', 'a@b', '%C3%A9', '.a', 'a%5Bb', '*', 'x'.repeat(256)])(
    'a capture of %j is not a label of a tree path: 400',
    async (id) => {
      const { ask, calls } = stand({
        identity,
        routes: [
          {
            match: { methods: ['GET'], path: '/t/{id}' },
            action: 'read',
            resource: { path: 'work.{id}' },
          },
        ],
      });
      expect(await ask({ path: `/t/${id}`, headers: key })).toMatchObject({ status: 400 });
      expect(calls).toEqual([]);
    },
  );

  it('what is not a capture of the rest never makes more than one label', async () => {
    const { ask, calls } = stand({
      identity,
      routes: [
        {
          match: { methods: ['GET'], path: '/t' },
          action: 'read',
          resource: { path: 'work.{context.where}' },
        },
        {
          match: { methods: ['GET'], path: '/f/{rest*}' },
          action: 'read',
          resource: { path: '{rest}' },
        },
      ],
    });
    for (const where of ['a/b', 'a.b', '', '/', 'a/'])
      expect(await ask({ path: '/t', headers: key, context: { where } })).toMatchObject({
        status: 400,
      });
    for (const path of ['/f/a/', '/f/a.b/c'])
      expect(await ask({ path, headers: key })).toMatchObject({ status: 400 });
    expect(calls).toEqual([]);
    await ask({ path: '/f/a/b', headers: key });
    expect(calls[0]?.request.resource.path).toBe('a.b');
  });
});

// ── the file ──────────────────────────────────────────────────────────────────────────────────────

describe('routes.yaml', () => {
  const problems = (yaml: string): string => {
    try {
      parseRoutes(parseSource('routes.yaml', yaml), catalog);
      return '';
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems
        .map(
          ({ file, line, column, path, message }) =>
            `${file}:${line}:${column}: ${path}: ${message}`,
        )
        .join('\n');
    }
  };
  const route = (match: string, more = 'action: kb:read'): string =>
    `identity: [{ api_key: x-api-key }]\nroutes:\n  - match: ${match}\n    ${more}\n`;
  const get = (path: string, more?: string): string =>
    route(`{ methods: [GET], path: '${path}' }`, more);

  it('the example that comes with Postern is one', () => {
    expect(problems(readFileSync(join(PACKAGE_ROOT, 'config/routes.yaml'), 'utf8'))).toBe('');
  });

  it.each([
    [get('/a/{b}/{c*}'), ''],
    [get('/'), ''],
    [get('/a/'), ''],
    [get('a'), 'routes.yaml:3:30: routes[0].match.path: `a` does not begin with `/`'],
    [get('/a//b'), 'has a segment `` that is neither plain text nor one `{capture}`'],
    [get('/a/../b'), 'has a segment `..` that ends in a dot, which no request may have'],
    [get('/a/b.'), 'has a segment `b.` that ends in a dot'],
    [get('/a%2Fb'), 'has a segment `a%2Fb` that is neither'],
    [get('/a/{B}'), 'has a segment `{B}` that is neither'],
    [get('/a/x{b}'), 'has a segment `x{b}` that is neither'],
    [get('/a/*'), 'has a segment `*` that is neither'],
    [get('/a/:b'), 'has a segment `:b` that is neither'],
    [get('/a;b'), 'has a segment `a;b` that is neither'],
    [get('/a?b'), 'has a segment `a?b` that is neither'],
    [get('/a/{b*}/c'), 'has `*` before its end'],
    [get('/{a}/{a}'), 'captures `a` twice'],
    [get('/{host}'), "captures `host`, which is the request's own: give it another name"],
    [route('{ methods: [get], path: /a }'), 'is not a method in upper case'],
    [
      route('{ methods: [FOO], path: /a }'),
      'routes.yaml:3:24: routes[0].match.methods[0]: `FOO` is not a known HTTP method',
    ],
    [route('{ methods: [], path: /a }'), 'too small'],
    [route('{ path: /a }'), 'routes[0].match.methods: is missing'],
    [route('{ methods: [GET], path: /a, hosts: [A.example] }'), 'is not a host in lower case'],
    [
      route("{ methods: [GET], path: /a, hosts: ['a.example:8080'] }"),
      'routes[0].match.hosts[0]: `a.example:8080` is not a canonical host: write it without the port',
    ],
    [
      route("{ methods: [GET], path: /a, hosts: ['[::1]:80'] }"),
      '`[::1]:80` is not a canonical host',
    ],
    [
      route("{ methods: [GET], path: /a, hosts: ['[0:0::1]'] }"),
      '`[0:0::1]` is not a canonical host',
    ],
    [
      route("{ methods: [GET], path: /a, hosts: ['a.example.'] }"),
      '`a.example.` is not a canonical host',
    ],
    [route("{ methods: [GET], path: /a, hosts: ['127.1'] }"), '`127.1` is not a canonical host'],
    [
      route('{ methods: [GET], path: /a, headers: { X-Version: "2" } }'),
      'is not in lower case: header names arrive so',
    ],
    [route('{ methods: [GET], path: /a, query: { a: b } }'), 'unknown key `query`'],
    [get('/a', 'public: true'), ''],
    [get('/a', 'public: false'), 'has neither `action` nor `public: true`: give one of them'],
    [get('/a', 'tenant: t'), 'has neither `action` nor `public: true`'],
    [get('/a', '{ public: true, action: kb:read }'), ''],
    [
      get('/a', 'action: kb:read\n    public: true'),
      'cannot be combined with `public: true`, which makes no decision: remove one of the two',
    ],
    [
      get('/a', 'action: thread.gte'),
      'routes[0].action: unknown action `thread.gte`: list it in the catalog, or use resource:verb',
    ],
    [get('/a', "action: '{context.action}'"), ''],
    [
      get('/a/{id}', "action: kb:read\n    resource: { id: '{ide}' }"),
      '`{ide}` is nothing: captures here are id, others are context.NAME',
    ],
    [
      get('/a', "action: kb:read\n    resource: { id: '{id}' }"),
      '`{id}` is nothing: captures here are none',
    ],
    [
      get('/a', "action: kb:read\n    resource: { id: '{constructor}' }"),
      '`{constructor}` is nothing',
    ],
    [
      get('/a', "action: kb:read\n    resource: { id: '{metadata.jwt}' }"),
      '`{metadata.jwt}` is nothing',
    ],
    [
      get('/a', "action: kb:read\n    resource: { attributes: { a: ['{x}'] } }"),
      '`{x}` is nothing',
    ],
    [
      get('/a', "action: kb:read\n    tenant: '{credential.user}'"),
      '`{credential.user}` is nothing',
    ],
    [
      get('/a/{id}', "action: kb:read\n    resource: { path: 'work..{id}' }"),
      '`work..{id}` has an empty label',
    ],
    [
      get('/a/{id}', "action: kb:read\n    resource: { path: 'work/{id}' }"),
      '`work/{id}` has a label with other characters',
    ],
    [
      'routes: [{ match: { methods: [GET], path: /a }, action: kb:read }]',
      'identity: is missing: name where identities are, or make routes public',
    ],
    ['routes: [{ match: { methods: [GET], path: /a }, public: true }]', ''],
    ['routes: []', ''],
    ['identity: [{ header: x }]\nroutes: []', 'routes.yaml:1:12'],
    ['identity: [{ api_key: X-Key }]\nroutes: []', 'routes.yaml:1:'],
    ['identity: [{ trusted_header: x-user }]\nroutes: []', 'routes.yaml:1:'],
    ['identity: [{ trusted_header: x-user, listeners: [] }]\nroutes: []', 'routes.yaml:1:'],
    ['identity: [{ mtls: { prefix: "" } }]\nroutes: []', 'routes.yaml:1:'],
    ['headers: { subject: x-a, tenant: x-a }\nroutes: []', 'headers.tenant: `x-a` is used twice'],
    [
      'headers: { subject: x-user }\nidentity: [{ trusted_header: x-user, listeners: [a] }]\nroutes: []',
      'headers.subject: `x-user` is used twice',
    ],
    ['rotes: []', 'unknown key `rotes`'],
  ])('%j: %s', (yaml, expected) => {
    const found = problems(yaml.replace('{ public: true, action: kb:read }', 'public: true'));
    if (expected === '') expect(found).toBe('');
    else expect(found).toContain(expected);
  });

  const pair = (first: string, second: string): string =>
    `identity: [{ api_key: x-api-key }]\nroutes:\n  - { match: ${first}, action: kb:read }\n  - { match: ${second}, action: kb:write }\n`;

  it.each([
    [
      "{ methods: [GET], path: '/a/{x}' }",
      "{ methods: [GET], path: '/a/{y}' }",
      'routes.yaml:4:32: routes[1].match.path: `/a/{y}` is the path of routes[0] `/a/{x}` with other names: give captures the same names in both',
    ],
    [
      "{ methods: [GET], path: '/a/{x*}' }",
      "{ methods: [GET], path: '/a/{y*}' }",
      'with other names',
    ],
    [
      '{ methods: [GET, PUT], path: /a }',
      '{ methods: [PUT], path: /a }',
      'routes[1].match: is never reached: routes[0] `/a` matches all `PUT` requests of this path',
    ],
    [
      '{ methods: [GET], path: /a }',
      '{ methods: [GET], path: /a, headers: { v: "2" } }',
      'is never reached',
    ],
    ['{ methods: [GET], path: /a, headers: { v: "2" } }', '{ methods: [GET], path: /a }', ''],
    ['{ methods: [GET], path: /a, hosts: [h.example] }', '{ methods: [GET], path: /a }', ''],
    [
      '{ methods: [GET], path: /a, hosts: [h.example] }',
      '{ methods: [GET], path: /a, hosts: [i.example, h.example] }',
      'is never reached',
    ],
    ['{ methods: [GET], path: /a }', '{ methods: [POST], path: /a }', ''],
    ["{ methods: [GET], path: '/a/{x}' }", "{ methods: [GET], path: '/a/{x*}' }", ''],
  ])('%s and %s: %s', (first, second, expected) => {
    const found = problems(pair(first, second));
    if (expected === '') {
      expect(found).toBe('');
      expect(() =>
        compile(parsed(parseSource('f', pair(first, second)).value as object)),
      ).not.toThrow();
    } else expect(found).toContain(expected);
  });

  it('whatever the file may name, requests can have: a route that no request reaches is refused', () => {
    const segment = fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom('a', 'a.b', '.a', '..', 'a.', '%41', '{x}', '{y}', '{z*}', "it's", 'a!b', ''),
    );
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 4 }), (parts) => {
        const path = `/${parts.join('/')}`;
        if (typeof parsePathTemplate(path) === 'string') return;
        const example = path.replace(/\{[a-z]+\*?\}/g, 'v');
        expect(canonical(example)).toMatchObject({ path: example });
        const table = compile(
          parsed({ routes: [{ match: { methods: ['GET'], path }, public: true }] }),
        ).table;
        const asked = decodeQuestion(question({ path: example }));
        const one = canonical(example);
        if (asked === undefined || 'problem' in one) return expect.unreachable();
        expect(table(one, asked)).toBeDefined();
      }),
      { numRuns: 2_000 },
    );
  });
});

// ── a real server ─────────────────────────────────────────────────────────────────────────────────

describe('on a server', () => {
  let server: TestServer;
  let tokens: Tokens;
  let routesFile: string;
  const ask = async (one: Http): Promise<Told> =>
    told(await server.client.raw(CHECK_PATH, question(one)));
  const records = (): Record<string, unknown>[] =>
    readFileSync(join(server.directory, 'audit.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const recorded = async (id: string): Promise<Record<string, unknown>> => {
    const find = (): Record<string, unknown> | undefined =>
      records().find((record) => record['request_id'] === id);
    await until(() => find() !== undefined);
    return find() ?? {};
  };

  beforeAll(async () => {
    const directory = temporaryDirectory();
    routesFile = join(directory, 'routes.yaml');
    const store = `embedded:${join(directory, 'store')}`;
    tokens = await makeTenant(store);
    writeFileSync(routesFile, stringify(ROUTES));
    server = await startTestServer({ tenant: TENANT }, { store, routes: routesFile });
  });
  afterAll(() => server.close());
  beforeEach(() => {
    writeFileSync(routesFile, stringify(ROUTES));
    if (!server.running.reload()) throw new Error('the routes are refused');
  });
  const agent = (): Http => ({ headers: { 'x-api-key': tokens.key.agent } });

  it('a key, a session cookie, a key as a bearer token, a key that acts for its user', async () => {
    const path = '/v1/threads/t1';
    const byKey = await ask({ path, ...agent() });
    expect(byKey).toMatchObject({
      allowed: true,
      set: { 'x-postern-tenant': TENANT, 'x-postern-key': 'agent' },
    });
    expect(byKey.remove).toContain('x-postern-subject');
    expect(await ask({ path, headers: { cookie: `session=${tokens.session}` } })).toMatchObject({
      allowed: true,
      set: { 'x-postern-subject': 'user:alice' },
    });
    expect(
      await ask({ path, headers: { authorization: `Bearer ${tokens.key.delegate}` } }),
    ).toMatchObject({
      allowed: true,
      set: { 'x-postern-subject': 'user:alice', 'x-postern-key': 'delegate' },
      metadata: { reason: 'ALLOWED', subject: 'user:alice', key_id: 'delegate', tenant: TENANT },
    });
  });

  it('what is denied, hidden and limited', async () => {
    const session = { cookie: `session=${tokens.session}` };
    expect(await ask({ path: '/v1/threads/t1', method: 'DELETE', headers: session })).toMatchObject(
      { status: 403, metadata: { reason: 'NO_GRANT' } },
    );
    expect(
      await ask({ path: '/v1/threads/t1', headers: { 'x-api-key': tokens.key.nothing } }),
    ).toMatchObject({ status: 403, metadata: { reason: 'ACTION_DENIED' } });
    expect(await ask({ path: '/v1/memories/secret', ...agent() })).toMatchObject({
      status: 404,
      metadata: { reason: 'OBJECT_HIDDEN' },
    });
    expect(await ask({ path: '/v1/memories/plain', ...agent() })).toMatchObject({ allowed: true });
    const limited = { path: '/v1/threads/t1', headers: { 'x-api-key': tokens.key.limited } };
    expect(
      [await ask(limited), await ask(limited), await ask(limited)].map((one) => one.status),
    ).toEqual([undefined, undefined, 429]);
  });

  it('the shadow outcome goes to metadata alone', async () => {
    const answer = await ask({
      path: '/v1/threads/t1',
      headers: { 'x-api-key': tokens.key.watched },
    });
    expect(answer).toMatchObject({
      allowed: true,
      metadata: { shadow_allowed: false, shadow_differs: true },
    });
    expect(JSON.stringify(answer.set)).not.toContain('shadow');
  });

  it('credentials that prove nothing look alike, whether their tenant, key or user exists or not', async () => {
    const secret = tokens.key.agent.split('.').at(-1) ?? '';
    const name = (id: string): string => Buffer.from(id).toString('base64url');
    const forged = [
      'nonsense',
      '',
      `pstk.${name('nowhere')}.${name('agent')}.${secret}`,
      `pstk.${name(TENANT)}.${name('nobody')}.${secret}`,
      `pstk.${name(TENANT)}.${name('nothing')}.${secret}`,
      tokens.session,
      `${tokens.key.agent}x`,
    ];
    const answers = await Promise.all(
      forged.map((one) => ask({ path: '/v1/threads/t1', headers: { 'x-api-key': one } })),
    );
    for (const { body, ...answer } of answers) {
      expect(answer).toMatchObject({ status: 401, code: 16 });
      expect(JSON.parse(body)).toMatchObject({ title: 'Unauthorized' });
    }
  });

  it('the id is that of X-Request-ID, which Envoy logs, and not the number of its stream', async () => {
    const path = '/v1/threads/t1';
    const ids = {
      id: '334491592294706048',
      headers: { ...agent().headers, 'x-request-id': 'r-id-1' },
    };
    await ask({ path, ...ids });
    await ask({ path: '/nowhere', ...ids, headers: { 'x-request-id': 'r-id-2' } });
    expect(await recorded('r-id-1')).toMatchObject({ allowed: true });
    expect(await recorded('r-id-2')).toMatchObject({ allowed: false });
    // One without end is not kept.
    await ask({
      path,
      id: 'stream-7',
      headers: { ...agent().headers, 'x-request-id': 'x'.repeat(5_000) },
    });
    expect(await recorded('stream-7')).toMatchObject({ allowed: true });
  });

  it('refusals and decisions are recorded, by the id of the request', async () => {
    await ask({ path: '/nowhere?secret=1', id: 'no-route', ...agent() });
    await ask({ path: '/v1//threads', id: 'ambiguous', ...agent() });
    await ask({ path: '/v1/threads/t1', id: 'nobody' });
    await ask({ path: '/v1/threads/t1', id: 'allowed', ...agent() });
    expect(await recorded('no-route')).toMatchObject({
      type: 'decision',
      allowed: false,
      reason: 'UNKNOWN_ACTION',
      action: 'GET /nowhere',
    });
    expect(await recorded('ambiguous')).toMatchObject({
      allowed: false,
      reason: 'INVALID_ARGUMENT',
      action: 'GET /v1//threads',
    });
    expect(await recorded('nobody')).toMatchObject({
      allowed: false,
      reason: 'KEY_INVALID',
      action: 'GET /v1/threads/t1',
    });
    expect(await recorded('allowed')).toMatchObject({
      allowed: true,
      reason: 'ALLOWED',
      key_id: 'agent',
      tenant: TENANT,
    });
    const text = JSON.stringify(records());
    expect(text).not.toContain('secret=1');
    expect(text).not.toContain(tokens.key.agent);
  });

  it('is counted as ext_authz', async () => {
    await ask({ path: '/nowhere', ...agent() });
    const metrics = await (await fetch(`http://${server.running.addresses.http}/metrics`)).text();
    expect(metrics).toMatch(
      /postern_decisions_total\{api="ext_authz",allowed="true",reason="ALLOWED"\} [1-9]/,
    );
    expect(metrics).toMatch(
      /postern_decisions_total\{api="ext_authz",allowed="false",reason="UNKNOWN_ACTION"\} [1-9]/,
    );
  });

  it('hostile bytes over the wire: answered, and the next call too', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        const answer = told(await server.client.raw(CHECK_PATH, Buffer.from(bytes)));
        expect(answer.allowed).toBe(false);
      }),
      { numRuns: 200 },
    );
    expect(await ask({ path: '/v1/threads/t1', ...agent() })).toMatchObject({ allowed: true });
  });

  it('without routes there is no such method', async () => {
    const bare = await startTestServer({ tenant: 't' });
    try {
      const error = await bare.client.raw(CHECK_PATH, question({})).catch((e: unknown) => e);
      expect((error as ServiceError).code).toBe(status.UNIMPLEMENTED);
    } finally {
      await bare.close();
    }
  });

  it('a conflict of routes is told with its place at the start', () => {
    const file = join(temporaryDirectory(), 'routes.yaml');
    const route = (path: string): object => ({ match: { methods: ['GET'], path }, public: true });
    writeFileSync(file, stringify({ routes: [route('/a/{x}'), route('/a/{y}')] }));
    expect(() => readInForce({ ...server.settings, routes: file })).toThrow(
      /routes\.yaml:10:7: .*with other names/,
    );
  });
});

describe('SIGHUP', () => {
  it('puts new routes in force, and keeps the last where the file is bad', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'routes.yaml');
    const open = (path: string): string =>
      stringify({ routes: [{ match: { methods: ['GET'], path }, public: true }] });
    writeFileSync(file, open('/one'));
    const settings = [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `routes: ${file}`,
      'store: embedded:store',
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      'audit: { sinks: [{ type: file, path: audit.jsonl }] }',
    ].join('\n');
    const serving = await serve([], { settings });
    let client: TestClient | undefined;
    try {
      const connected = connectTo(serving.grpc);
      client = connected;
      const passes = async (path: string): Promise<boolean> =>
        told(await connected.raw(CHECK_PATH, question({ path }))).allowed;
      expect([await passes('/one'), await passes('/two')]).toEqual([true, false]);
      writeFileSync(file, open('/two'));
      serving.child.kill('SIGHUP');
      await until(() => passes('/two'));
      expect(await passes('/one')).toBe(false);
      writeFileSync(file, 'routes: [{ match: { methods: [GET], path: /three } }]\n');
      serving.child.kill('SIGHUP');
      await until(() => serving.stderr().includes('refused'));
      expect(serving.stderr()).toContain('routes.yaml:1:10');
      expect([await passes('/two'), await passes('/three')]).toEqual([true, false]);
      writeFileSync(file, open('/three'));
      serving.child.kill('SIGHUP');
      await until(() => passes('/three'));
    } finally {
      client?.close();
      await serving.dispose();
    }
  });
});
