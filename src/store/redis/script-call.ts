/** How scripts are run: by their hash, by their text where Redis does not have them, and with a wait for replicas. */
import { createHash } from 'node:crypto';
import { Command, type Cluster, type Redis } from 'ioredis';
import { UnknownOutcomeError } from '../store.ts';
import { explain, isMissingScript, isNoReadingScripts, messageOf } from './reply-errors.ts';
import type { Script } from './scripts.ts';

export type Argument = string | number;

/** One call of a script. */
export interface ScriptCall {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
}

/** Replicas that must have a write, and how long to wait for them, ms. */
export interface ReplicaWait {
  readonly count: number;
  readonly ms: number;
}

export interface WriteReply {
  readonly answer: unknown;
  /** Replicas that have it. */
  readonly replicas: number;
}

/** Runs scripts that only read. */
export class ScriptReader {
  readonly #redis: Redis | Cluster;
  /** Scripts are run by the commands that cannot write, unless the user may not use these. */
  #usesReadOnly = true;

  constructor(redis: Redis | Cluster) {
    this.#redis = redis;
  }

  async run(call: ScriptCall): Promise<unknown> {
    // A script that only reads needs no right to write, and goes on while writes are paused.
    if (this.#usesReadOnly)
      try {
        return await this.#byHashOrText('evalsha_ro', 'eval_ro', call);
      } catch (error) {
        if (!isNoReadingScripts(messageOf(error))) throw error;
        // A user that was given the rights of an earlier version.
        this.#usesReadOnly = false;
      }
    return this.#byHashOrText('evalsha', 'eval', call);
  }

  async #byHashOrText(byHash: string, byText: string, call: ScriptCall): Promise<unknown> {
    try {
      return await this.#redis.sendCommand(scriptCommand(byHash, hashOf(call.script), call));
    } catch (error) {
      if (!isMissingScript(messageOf(error))) throw error;
      return this.#redis.sendCommand(scriptCommand(byText, call.script.lua, call));
    }
  }
}

/** Runs a script that writes, then waits for replicas to have it. Throws what Redis or the library says. */
export async function runWrite(
  redis: Redis | Cluster,
  call: ScriptCall,
  wait: ReplicaWait,
): Promise<WriteReply> {
  try {
    return await writeOnce(redis, scriptCommand('evalsha', hashOf(call.script), call), wait);
  } catch (error) {
    if (!isMissingScript(messageOf(error))) throw error;
    return writeOnce(redis, scriptCommand('eval', call.script.lua, call), wait);
  }
}

/** What a pipeline has, and its type leaves out. */
interface CommandPipeline {
  sendCommand(command: Command): unknown;
}

async function writeOnce(
  redis: Redis | Cluster,
  command: Command,
  wait: ReplicaWait,
): Promise<WriteReply> {
  const pipeline = redis.pipeline();
  // See `CommandPipeline`.
  (pipeline as unknown as CommandPipeline).sendCommand(command);
  if (wait.count > 0) pipeline.call('wait', wait.count, wait.ms);
  const [ran, waited] = (await pipeline.exec()) ?? [];
  if (ran?.[0] instanceof Error) throw ran[0];
  if (waited?.[0] instanceof Error)
    throw new UnknownOutcomeError(
      `the commit is done, and cannot wait for replicas: ${explain(waited[0].message)}`,
      'done',
    );
  return { answer: ran?.[1], replicas: Number(waited?.[1] ?? 0) };
}

/** As one list: a call has more keys and arguments than a function may have. */
function scriptCommand(command: string, text: string, { keys, args }: ScriptCall): Command {
  const all: Argument[] = [text, keys.length];
  return new Command(command, all.concat(keys, args), { replyEncoding: 'utf8' });
}

const hashes = new Map<Script, string>();

function hashOf(script: Script): string {
  const cached = hashes.get(script);
  if (cached !== undefined) return cached;
  const hash = createHash('sha1').update(script.lua).digest('hex');
  hashes.set(script, hash);
  return hash;
}
