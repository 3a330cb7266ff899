/** `postern apply` and `postern export` on a running server, with the authority of whoever asks. */
import { readFileSync } from 'node:fs';
import { AdminError, openAdmin, type AdminOptions } from './admin-client.ts';
import { CliError, EXIT, print } from './output.ts';
import { progress } from './progress.ts';
import { reportWrite, type WriteAnswer } from './report.ts';
import { writeOptions, type WriteFlags } from './verb.ts';

export type RemoteApplyOptions = AdminOptions & WriteFlags & { readonly file: string };

const CHUNK_BYTES = 1_048_576;

export async function applyRemote(options: RemoteApplyOptions): Promise<number> {
  const { file, output } = options;
  const bytes = readBytes(file);
  const tenant = options.tenant ?? tenantIn(bytes, file);
  const admin = await openAdmin(options);
  const tell = progress(bytes.length);
  try {
    const messages = function* (): Iterable<object> {
      const first = { tenant, options: writeOptions(options) };
      for (let at = 0; at === 0 || at < bytes.length; at += CHUNK_BYTES) {
        const chunk = bytes.subarray(at, at + CHUNK_BYTES);
        const sent = Math.min(bytes.length, at + CHUNK_BYTES);
        tell(`sending the state: ${sent} of ${bytes.length} bytes`);
        yield at === 0 ? { ...first, chunk } : { chunk };
      }
      tell('the server plans and commits it');
    };
    const answer = await admin.upload<WriteAnswer>('Apply', messages()).catch((error: unknown) => {
      // The server has seen a text, the user a file.
      if (error instanceof AdminError && error.message.startsWith('chunk: '))
        error.message = error.message.slice('chunk: '.length).replace(/^state:/gm, `${file}:`);
      throw error;
    });
    reportWrite(output, answer, { what: `state of ${tenant}`, done: 'applied' });
    return EXIT.ok;
  } finally {
    admin.close();
  }
}

/** The tenant that a state file names at its top level: the server checks that it is this one. */
function tenantIn(bytes: Buffer, file: string): string {
  const text = bytes.subarray(0, CHUNK_BYTES).toString();
  const found = /(?:^|[{,\n])\s*"?tenant"?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#,}]+))/.exec(
    text,
  );
  const tenant = found?.[1] ?? found?.[2] ?? found?.[3];
  if (tenant === undefined)
    throw new CliError(`${file}: no \`tenant\` is found in it: give --tenant NAME`);
  return tenant;
}

export async function exportRemote(options: AdminOptions): Promise<number> {
  const { output } = options;
  const admin = await openAdmin(options);
  try {
    const format = output === 'json' ? 'json' : 'yaml';
    const never = new AbortController().signal;
    const pieces: Buffer[] = [];
    for await (const { chunk } of admin.watch<{ chunk: Buffer }>('Export', { format }, never))
      pieces.push(chunk);
    const text = Buffer.concat(pieces).toString();
    if (output === 'json') print(output, JSON.parse(text), () => text);
    else process.stdout.write(text);
    return EXIT.ok;
  } finally {
    admin.close();
  }
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new CliError(
      `\`${file}\` cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
