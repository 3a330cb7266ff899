/** A commit to Redis: one script on the keys of one tenant, sent again while its outcome is not known (CONS-5). */
import { randomBytes } from 'node:crypto';
import { leastReaderOf, READER_VERSION } from '../format/version.ts';
import {
  MAX_NAMED,
  StoreError,
  UnknownOutcomeError,
  VersionError,
  type Change,
  type Commit,
  type CommitResult,
  type FactKey,
  type Head,
} from '../store.ts';
import type { Client } from './client.ts';
import type { Connections } from './connections.ts';
import { parseHead } from './heads.ts';
import { hintedKeys, hintText, type HintListeners } from './hints.ts';
import { KINDS } from './keys.ts';
import { changeText } from './record-text.ts';
import { countdown, resendUntilKnown } from './resend.ts';
import type { Argument, WriteReply } from './script-call.ts';
import { COMMIT, FLIP, TOUCH } from './scripts.ts';
import { openStager, type Stage, type Stager } from './staged.ts';

/** All of them are in memory here, and Redis needs room for the kinds that they change a second time. */
const MAX_CHANGES = 500_000;
/** Time that a change of a commit adds to the time that the commit may take, ms: its way, and its writing. */
const CHANGE_MS = 0.05;

/** As the commit scripts return it: a code (see `COMMIT`), then a revision and its nonce, or a version. */
type CommitReply = readonly [code: 0 | 1 | 2 | 3, number: string, nonce: string];

export class Committer {
  readonly #connections: Connections;
  readonly #listeners: HintListeners;
  readonly #stager: Stager;

  constructor(connections: Connections, listeners: HintListeners) {
    this.#connections = connections;
    this.#listeners = listeners;
    this.#stager = openStager(connections.keys, connections.options.commitTimeoutMs);
  }

  /** As `Store.commit`. */
  async commit(commit: Commit): Promise<CommitResult> {
    await this.#connections.ready();
    const writer = this.#connections.writer();
    const count = commit.changes.length;
    if (count > MAX_CHANGES)
      throw new StoreError(
        `the commit has ${count} changes, Redis takes ${MAX_CHANGES} at once: split it`,
      );
    const nonce = randomBytes(9).toString('base64url');
    const stage = await this.#stager.prepare(writer, commit, nonce);
    if (stage !== undefined && 'moved' in stage)
      return { committed: false, head: parseHead(stage.moved === '' ? null : stage.moved) };
    const hinted = hintedKeys(commit);
    const sent = await this.#stager.end(writer, commit, stage, () =>
      this.#send(writer, commit, nonce, hinted, stage),
    );
    const result = resultOf(commit.tenant, sent);
    if (!result.committed) return result;
    this.#listeners.notify(commit.tenant, hinted);
    this.#mustBeReplicated(
      `revision ${result.head.revision} of \`${commit.tenant}\``,
      sent.replicas,
    );
    return result;
  }

  /** As `Store.settle`. */
  async settle(tenant: string): Promise<void> {
    const { keys, options } = this.#connections;
    const { waitReplicas, waitMs, commitTimeoutMs } = options;
    if (waitReplicas === 0) return;
    await this.#connections.ready();
    const writer = this.#connections.writer();
    await writer.ready(commitTimeoutMs);
    const call = { script: TOUCH, keys: [keys.head(tenant)], args: [] };
    const wait = { count: waitReplicas, ms: waitMs };
    const { replicas } = await writer.write(commitTimeoutMs, call, wait);
    this.#mustBeReplicated(`\`${tenant}\``, replicas);
  }

  async #send(
    writer: Client,
    commit: Commit,
    nonce: string,
    hinted: readonly FactKey[],
    stage: Stage | undefined,
  ): Promise<WriteReply & { readonly again: boolean }> {
    const { keys, options } = this.#connections;
    const { tenant, changes } = commit;
    const places = [keys.head(tenant), keys.feed(tenant), keys.tenants(keys.shardOf(tenant))];
    for (const kind of KINDS) places.push(keys.records(tenant, kind), keys.index(tenant, kind));
    const head = headArguments(commit, nonce, stage, {
      feedLength: options.feedLength,
      channel: keys.channel,
      hint: hintText(tenant, hinted),
    });
    const call = {
      script: stage === undefined ? COMMIT : FLIP,
      keys: [...places, ...(stage?.keys ?? [])],
      args: [...head, ...(stage?.args ?? []), ...changeArguments(stage?.rest ?? changes)],
    };
    const left = countdown(options.commitTimeoutMs + changes.length * CHANGE_MS);
    const wait = { count: options.waitReplicas, ms: options.waitMs };
    return resendUntilKnown(writer, left, (client) => client.write(left(), call, wait));
  }

  /** @throws UnknownOutcomeError where fewer replicas have it than must */
  #mustBeReplicated(what: string, replicas: number): void {
    const { waitReplicas, waitMs } = this.#connections.options;
    if (replicas < waitReplicas)
      throw new UnknownOutcomeError(
        `${what} is committed, but ${replicas} of ${waitReplicas} replicas have it after ${waitMs} ms, and a fail-over could lose it`,
        'done',
      );
  }
}

/** @throws VersionError, UnknownOutcomeError */
function resultOf(
  tenant: string,
  { answer, again }: { readonly answer: unknown; readonly again: boolean },
): CommitResult {
  // As the script returns it.
  const [code, number, nonce] = answer as CommitReply;
  const head: Head = { revision: Number(number), nonce };
  const isOther: CommitResult = { committed: false, head: head.revision === 0 ? undefined : head };
  switch (code) {
    case 0:
      return isOther;
    case 1:
      return { committed: true, head };
    case 2:
      // The feed no longer has the entry; only a commit that was sent before can have written it.
      if (!again) return isOther;
      throw new UnknownOutcomeError(
        `others have committed to \`${tenant}\` so often that its feed no longer tells what became of this`,
      );
    case 3:
      throw new VersionError(`\`${tenant}\` in the store`, Number(number));
  }
}

/** Arguments before the changes, in the order of `COMMIT`. */
function headArguments(
  { expected, nonce: before, tenant, changes, event }: Commit,
  nonce: string,
  stage: Stage | undefined,
  feed: { readonly feedLength: number; readonly channel: string; readonly hint: string },
): readonly Argument[] {
  const isNamed = changes.length <= MAX_NAMED;
  const entry = JSON.stringify({
    keys: isNamed ? changes.map(({ kind, id }) => [KINDS.indexOf(kind), id]) : null,
    event,
    time: Date.now(),
  });
  return [
    expected,
    nonce,
    tenant,
    feed.feedLength,
    feed.channel,
    entry,
    stage?.nonce ?? before ?? '',
    feed.hint,
    leastReaderOf(changes),
    READER_VERSION,
  ];
}

function changeArguments(changes: readonly Change[]): readonly Argument[] {
  const args: Argument[] = [];
  for (const change of changes)
    args.push(KINDS.indexOf(change.kind) + 1, change.id, changeText(change));
  return args;
}
