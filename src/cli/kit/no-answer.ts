/** Why a call had no answer, or one that is none of Postern's: in a sentence that names the remedy. */
import { systemSentence } from '../../util/system-error.ts';

/** What a caller knows of a call that failed. */
export interface FailedCall {
  /** `UNAVAILABLE`, …: the name of the gRPC status. */
  readonly status: string;
  /** Of the server, or of the library where there was no answer. */
  readonly details: string;
  readonly address: string;
  /** How long it was waited for, ms. */
  readonly timeoutMs: number;
}

/** Words that the library says and no server of Postern does. */
const LIBRARY =
  /^(No connection established|Name resolution failed|Connection dropped|Received HTTP status code|Stream removed|Call cancelled before|Deadline exceeded after|Waiting for LB pick|The server does not implement|Received RST_STREAM|Server transport closed|Failed to (start|write)|Error:|Could not parse target|Protocol error|Cancelled on client|Response message parsing error|Invalid frame|write E|read E|connect E)/;

const HOW =
  'start it with `postern serve`, or name another with --address, POSTERN_ADDRESS or `postern context use`';

/** The server's own words, or ours in the place of the library's. */
export function callFailure({ status, details, address, timeoutMs }: FailedCall): string {
  if (!isLibrary(status, details)) return details;
  const no = `no answer from ${address}`;
  if (status === 'DEADLINE_EXCEEDED')
    return `${no} within ${timeoutMs / 1_000} s: look whether the server is busy or waits for its store`;
  if (status === 'UNIMPLEMENTED' || /HTTP status code|Protocol error|Invalid frame/.test(details))
    return `\`${address}\` does not speak Postern's API over gRPC: check the port (4700 by default, 4701 is for HTTP)`;
  if (status === 'RESOURCE_EXHAUSTED') return `${no}: the message is too large for it`;
  if (status === 'CANCELLED') return `the call to \`${address}\` was cancelled`;
  const why = causeOf(details);
  return why === undefined
    ? `${no}: ${HOW}; give --tls if the server uses TLS, and omit it if not`
    : `${no}: ${why}`;
}

function isLibrary(status: string, details: string): boolean {
  // A server whose method is unknown to it is reported by the caller, which knows the service.
  return LIBRARY.test(details) || (status === 'UNAVAILABLE' && /\bE[A-Z]{4,}\b/.test(details));
}

function causeOf(details: string): string | undefined {
  if (details.startsWith('Name resolution failed'))
    return `the name of the host is not known: check --address`;
  if (/wrong version number|packet length too long|WRONG_VERSION/i.test(details))
    return 'it does not speak TLS: leave --tls, --ca and --cert out';
  if (/self.signed|unable to (verify|get)/i.test(details))
    return 'its certificate is not of a trusted authority: name that in --ca';
  if (/altnames?|does not match certificate/i.test(details))
    return 'its certificate is for another name: use a name of the certificate in --address';
  if (/certificate has expired/i.test(details)) return 'its certificate has expired: renew it';
  if (/certificate required|handshake failure/i.test(details))
    return 'it asks for a client certificate: give --cert and --key-file';
  for (const [code] of details.matchAll(/\b(?:ERR_[A-Z_]+|E[A-Z]{3,})\b/g)) {
    if (code === 'ENOENT') return `the socket does not exist: ${HOW}`;
    if (code === 'ECONNREFUSED') return `nothing listens there: ${HOW}`;
    if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
    const sentence = systemSentence(code);
    if (sentence !== undefined) return sentence;
  }
  return undefined;
}
