/**
 * OpenTelemetry traces of decision calls: one span a call, a child of the caller's, sent by OTLP over HTTP. It is
 * loaded where traces are on. Attributes are enums, counts and the revision: no tenant and no id.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type Context,
  type Span,
} from '@opentelemetry/api';
import { ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type SpanExporter,
} from '@opentelemetry/sdk-trace';
import type { MaybePromise } from '../util/later.ts';

/** The values of a header, as a transport has them; empty: it was not sent. */
type Headers = { get(name: string): readonly (string | Buffer)[] };

/** Answers one message of a call, as a transport has it. */
type Answer<C> = (bytes: Buffer, call: C, waitMs: number) => MaybePromise<Buffer>;

export interface TracingOptions {
  /** Where a collector takes traces, whole: `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  /** Share of the calls that are traced where the caller has not said whether to, 0 to 1. */
  readonly sampleRatio: number;
  readonly serviceName: string;
  readonly version: string;
  /** Random name of the process. */
  readonly instance: string;
  /** How long `close` waits for a collector, ms. */
  readonly closeMs: number;
  /** Spans could not be sent; they are lost. */
  readonly onError: (error: unknown) => void;
}

export interface Tracing {
  /** A method each of whose calls is a span. `path` is its full path, `/package.Service/Method`. */
  readonly method: <C extends { readonly metadata: Headers }>(
    path: string,
    method: Answer<C>,
  ) => Answer<C>;
  /** The span of the call that is being answered; `undefined`: none is. */
  readonly current: () => Span | undefined;
  /** Sends what is still here, as far as the time allows. */
  close(): Promise<void>;
}

/** Spans that wait for a collector; more are lost. */
const QUEUED = 2_048;
const EXPORT_TIMEOUT_MS = 5_000;

export function openTracing(options: TracingOptions): Tracing {
  const exporter = new OTLPTraceExporter({
    url: options.endpoint,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': options.serviceName,
      'service.version': options.version,
      'service.instance.id': options.instance,
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sampleRatio) }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: telling(exporter, options.onError),
        maxQueueSize: QUEUED,
      }),
    ],
  });
  const tracer = provider.getTracer('postern', options.version);
  const propagator = new W3CTraceContextPropagator();
  const parentOf = (headers: Headers): Context => propagator.extract(ROOT_CONTEXT, headers, GETTER);
  const current = new AsyncLocalStorage<Span>();

  return {
    method: (path, method) => {
      const name = path.slice(1);
      const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': name };
      return (bytes, call, waitMs) => {
        const kind = SpanKind.SERVER;
        const span = tracer.startSpan(name, { kind, attributes }, parentOf(call.metadata));
        return endingWith(span, () => current.run(span, method, bytes, call, waitMs));
      };
    },
    current: () => current.getStore(),
    async close(): Promise<void> {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((done) => {
        timer = setTimeout(done, options.closeMs);
      });
      // What went wrong was told when it did.
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
    },
  };
}

const GETTER = {
  keys: () => [],
  get: (headers: Headers, name: string): string | undefined => {
    const values = headers.get(name);
    return values.length === 0 ? undefined : values.join(',');
  },
};

/** An exporter whose failures are told: the library's own handler is one of the whole process. */
function telling(exporter: SpanExporter, onError: (error: unknown) => void): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS)
          onError(result.error ?? new Error('the collector has refused spans'));
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  };
}

/** Names of gRPC codes by number. */
const CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];
/** Faults of this side; others are the caller's. */
const FAULTS: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** Answers, and ends the span as the answer does. */
function endingWith<T>(span: Span, answer: () => MaybePromise<T>): MaybePromise<T> {
  try {
    const answered = answer();
    if (!(answered instanceof Promise)) {
      endWell(span);
      return answered;
    }
    return answered.then(
      (value) => {
        endWell(span);
        return value;
      },
      (error: unknown) => {
        endWith(span, error);
        throw error;
      },
    );
  } catch (error) {
    endWith(span, error);
    throw error;
  }
}

function endWell(span: Span): void {
  span.setAttribute('rpc.status_code', 'OK');
  span.end();
}

function endWith(span: Span, error: unknown): void {
  const number = typeof error === 'object' && error !== null && 'code' in error ? error.code : 13;
  const code = CODES[Number(number)] ?? 'INTERNAL';
  span.setAttributes({ 'rpc.status_code': code, 'error.type': code });
  // Its message may name what was asked.
  if (FAULTS.has(code)) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}
