/** `postern apply` and `postern export` on a running server, with the authority of whoever asks. */
import { createHash } from 'node:crypto';
import { AdminError, openAdmin, type Admin, type AdminOptions } from '../kit/admin-client.ts';
import { reportApply, type ApplyAnswer } from './apply-report.ts';
import { CliError, EXIT } from '../kit/output.ts';
import { progress } from '../kit/progress.ts';
import { onStop } from '../serve/signals.ts';
import { stateWriter } from './state-output.ts';
import { mustEnd, readState, type StateInput, type UnlistedFlags } from './state-input.ts';
import { writeOptions, type WriteFlags } from '../kit/verb.ts';

export type RemoteApplyOptions = AdminOptions &
  WriteFlags &
  UnlistedFlags & { readonly file: string };

const CHUNK_BYTES = 1_048_576;

export async function applyRemote(options: RemoteApplyOptions): Promise<number> {
  const { file, output, prune = false } = options;
  const input = readState(file);
  if (prune) mustEnd(file, input);
  const tenant = options.tenant ?? tenantIn(input);
  const admin = await openAdmin(options);
  try {
    const answer = await send(admin, input, { ...options, tenant });
    return reportApply(output, answer, tenant);
  } finally {
    admin.close();
  }
}

/** @throws CliError that says whether it was applied */
async function send(
  admin: Admin,
  { name, bytes }: StateInput,
  options: RemoteApplyOptions & { readonly tenant: string },
): Promise<ApplyAnswer> {
  const { tenant, prune = false, keep = false } = options;
  const tell = progress(bytes.length);
  let isWhole = false;
  const messages = function* (): Iterable<object> {
    const first = { tenant, options: writeOptions(options), prune, keep };
    for (let at = 0; at === 0 || at < bytes.length; at += CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + CHUNK_BYTES);
      const sent = Math.min(bytes.length, at + CHUNK_BYTES);
      tell(`sending the state: ${sent} of ${bytes.length} bytes`);
      yield at === 0 ? { ...first, chunk } : { chunk };
    }
    // From here on the server may commit, whatever becomes of us.
    isWhole = true;
    yield { end: { length: bytes.length, sha256: createHash('sha256').update(bytes).digest() } };
    tell('the server plans and commits it');
  };
  const stopping = new AbortController();
  let stopped: NodeJS.Signals | undefined;
  const release = onStop((signal) => {
    stopped = signal;
    stopping.abort();
  });
  try {
    return await admin.upload<ApplyAnswer>('Apply', messages(), stopping.signal);
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    if (stopped !== undefined) throw new CliError(`${stopped}: ${outcome(isWhole, options)}`);
    if (error.isReasoned) {
      // The server has seen a text, the user a file.
      if (error.message.startsWith('chunk: '))
        error.message = error.message.slice('chunk: '.length).replace(/^state:/gm, `${name}:`);
      // Well formed, and refused for what it says: as without a server.
      if (error.message.startsWith('state: '))
        throw new CliError(`${name}: ${error.message.slice('state: '.length)}`, EXIT.refused);
      throw error;
    }
    throw new CliError(`${error.message}: ${outcome(isWhole, options)}`);
  } finally {
    release();
  }
}

/** @param isWhole the server may have had the whole state */
function outcome(
  isWhole: boolean,
  { dryRun = false, idempotencyKey, tenant }: RemoteApplyOptions,
): string {
  if (dryRun) return 'nothing was applied, it was a dry run';
  if (!isWhole) return `the state of ${tenant ?? ''} was not applied: the server had not all of it`;
  const remedy =
    idempotencyKey === undefined
      ? 'apply it again: a state that is there already changes nothing'
      : 'apply it again with the same --idempotency-key';
  return `UNKNOWN outcome: the server had the whole state of ${tenant ?? ''}, and may have applied it; ${remedy}`;
}

/** The tenant that a state file names at its top level: the server checks that it is this one. */
function tenantIn({ name, bytes }: StateInput): string {
  const text = bytes.subarray(0, CHUNK_BYTES).toString();
  const found = /(?:^|[{,\n])\s*"?tenant"?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#,}]+))/.exec(
    text,
  );
  const tenant = found?.[1] ?? found?.[2] ?? found?.[3];
  if (tenant === undefined)
    throw new CliError(`${name}: no \`tenant\` is found in it: give --tenant NAME`);
  return tenant;
}

export async function exportRemote(options: AdminOptions): Promise<number> {
  const { output } = options;
  const admin = await openAdmin(options);
  try {
    const format = output === 'json' ? 'json' : 'yaml';
    const never = new AbortController().signal;
    const write = stateWriter(format);
    for await (const { chunk } of admin.watch<{ chunk: Buffer }>('Export', { format }, never))
      await write(chunk);
    return EXIT.ok;
  } finally {
    admin.close();
  }
}
