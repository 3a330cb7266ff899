/** What a store's driver is: the addresses that it takes, and how its store is opened. */
import type { CredentialSettings } from './redis/credentials.ts';
import type { Store } from './store.ts';

export interface StoreSettings {
  /** `embedded:DIR`, or `redis://…` and its like. */
  readonly address: string;
  /** How long a read may take, ms. */
  readonly readTimeoutMs: number;
  readonly redis: CredentialSettings & {
    readonly key_prefix: string;
    readonly shards: number;
    readonly connect_timeout_ms: number;
    readonly commit_timeout_ms: number;
    readonly wait_replicas: number;
    readonly wait_ms: number;
    readonly feed_length: number;
  };
  /** Called for problems of a remote store, which tries again by itself. */
  readonly onProblem: (message: string) => void;
}

export interface Driver {
  /** How its addresses are written, for messages: `embedded:DIR`. */
  readonly forms: readonly string[];
  /** Whether an address is one of its own. */
  takes(address: string): boolean;
  /** The directory on this machine that an address names; `undefined`: the store is elsewhere, and may be away. */
  directory(address: string): string | undefined;
  /** Loads what it needs, and opens the store. @throws Error or StoreError where it cannot be opened */
  open(settings: StoreSettings): Promise<Store>;
}
