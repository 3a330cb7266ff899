/** AdminService over the store, where the settings or an admin token enable it. */
import type { Baseline } from '../admin/migrations/baseline.ts';
import type { Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import { readKey } from '../audit/open.ts';
import { openChain } from '../audit/seals/chain.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Catalog } from '../engine/action.ts';
import { steadyNow } from '../identity/clock.ts';
import type { Identity } from '../identity/identity.ts';
import { counted } from '../management/counted.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { JudgeCaller } from '../transport/grpc/callers.ts';
import type { Extra } from '../transport/grpc/server.ts';
import type { ServerOptions } from './running.ts';

export interface AdminListener {
  readonly extra: Extra;
  readonly callers: Readonly<Record<string, JudgeCaller>>;
}

export interface AdministrationParts {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  readonly baseline: Baseline;
  readonly audit: AuditLog;
  readonly redact: Redact | undefined;
  readonly identity: Identity;
  readonly metrics: Metrics;
  readonly onError: (error: unknown) => void;
}

export function isManaged({ admin }: Settings, adminToken: string | undefined): boolean {
  return admin.enabled || adminToken !== undefined;
}

/** @returns `undefined`: it is not enabled */
export async function openAdministration(
  { settings, adminToken, packageRoot }: ServerOptions,
  parts: AdministrationParts,
): Promise<AdminListener | undefined> {
  if (!isManaged(settings, adminToken)) return undefined;
  const { adminService, ADMIN_PATHS, judgeAdmin } = await import('../transport/grpc/admin.ts');
  const { openManagement } = await import('../management/management.ts');
  const { store, catalog, defaults, baseline, identity, audit, redact, metrics, onError } = parts;
  const { max_state_bytes: maxStateBytes, policy_sets: policyLimits } = settings.admin;
  const opened = openManagement({
    store,
    catalog,
    defaults,
    baseline,
    identity,
    adminToken,
    policyLimits,
    maxStateBytes,
    threadStore: {
      address: settings.store,
      // No decision waits for these reads.
      readTimeoutMs: settings.redis.commit_timeout_ms,
      redis: settings.redis,
    },
    log: audit,
    redact,
    seal: openChain(readKey('audit.chain_key_file', settings.audit.chain_key_file)),
    now: steadyNow,
  });
  const management = counted(opened, metrics);
  const extra = await adminService({ ...management, packageRoot, maxStateBytes, onError });
  const judge = judgeAdmin((authorization) => management.admit(authorization), onError);
  return { extra, callers: { [ADMIN_PATHS]: judge } };
}
