/** `postern healthcheck`: whether a server is ready, for container health checks. */
import { request } from 'node:http';
import { addressProblem } from '../../util/address.ts';
import { errorText } from '../../util/system-error.ts';
import { CliError, EXIT, print, visible, type Format } from '../kit/output.ts';

export interface HealthcheckOptions {
  readonly output: Format;
  /** `host:port` or `unix:/path` of the HTTP listener. */
  readonly http: string;
}

const TIMEOUT_MS = 3_000;

/** Exit code 1: it answers, and is not ready. */
export async function healthcheck({ output, http }: HealthcheckOptions): Promise<number> {
  const { status, body } = await get(http, '/readyz');
  let report: unknown = body;
  try {
    report = JSON.parse(body);
  } catch {
    // Some other server answers there: its text is shown as it is.
  }
  print(output, report, () => (status === 200 ? 'ready' : `not ready: ${body.trim()}`));
  return status === 200 ? EXIT.ok : EXIT.refused;
}

/** Of the HTTP listener. */
const EXAMPLE = '127.0.0.1:4701';

function get(address: string, path: string): Promise<{ status: number; body: string }> {
  const problem = addressProblem(address, EXAMPLE);
  if (problem !== undefined) throw new CliError(`--http: \`${visible(address)}\` ${problem}`);
  const colon = address.lastIndexOf(':');
  const target = address.startsWith('unix:')
    ? { socketPath: address.slice(5) }
    : { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: address.slice(colon + 1) };
  return new Promise((done, failed) => {
    const fail = (error: Error): void =>
      failed(new CliError(`no answer from ${address}: ${errorText(error)}`));
    const sent = request({ ...target, path, timeout: TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => done({ status: response.statusCode ?? 0, body }));
      response.on('error', fail);
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    sent.on('error', fail).end();
  });
}
