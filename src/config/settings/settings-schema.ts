/** `postern.yaml`: every option, its default and its description. */
import * as z from 'zod';
import { addressProblem } from '../../util/address.ts';
import { auditSchema } from '../audit.ts';
import { POLICY_LIMITS } from '../policy-limits.ts';

/** Of numbers of things, where nothing else bounds them. */
const MAX_COUNT = 1_000_000_000;
/** Of bytes in memory, 1 TiB. */
const MAX_BYTES = 2 ** 40;
/** Of one text or message, bytes: a string of the runtime holds no more. */
const MAX_TEXT_BYTES = 512 * 1024 * 1024 - 64;

const count = (fallback: number, description: string, most = MAX_COUNT): z.ZodDefault<z.ZodInt> =>
  z.int().min(1).max(most).default(fallback).meta({ description });

/**
 * Longest time of a setting, ms: 11 days. Timers take 2^31 - 1 at most, and one ms for more; some times are added up.
 */
const MAX_MS = 1_000_000_000;

const millis = (fallback: number, description: string): z.ZodDefault<z.ZodInt> =>
  z
    .int()
    .min(0)
    .max(MAX_MS)
    .default(fallback)
    .meta({ description: `${description} (milliseconds)` });

const address = (example: string): z.ZodString =>
  z
    .string()
    .check((context) => {
      const found = addressProblem(context.value, example);
      if (found !== undefined)
        context.issues.push({ code: 'custom', message: found, input: context.value });
    })
    .meta({ pattern: '^(unix:.+|(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9._-]+):\\d{1,5})$' });
export const grpcAddress = address('127.0.0.1:4700');
export const httpAddress = address('127.0.0.1:4701');

const socketMode = z
  .string()
  .regex(/^0?[0-7]{3}$/, 'is not an octal number of three digits, such as `"0660"`')
  .optional()
  .meta({ description: 'Permissions of a unix socket, octal; absent: what the umask leaves' });

const seconds = (description: string): z.ZodOptional<z.ZodInt> =>
  z
    .int()
    .min(1)
    .max(MAX_MS / 1_000)
    .optional()
    .meta({ description: `${description} (seconds)` });

/** What is wrong with an issuer as a whole is said by `identity/`, which uses it. */
const issuer = z.strictObject({
  issuer: z.string().min(1).meta({ description: '`iss` of its tokens' }),
  audience: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .meta({ description: '`aud` that its tokens have for this service' }),
  algorithms: z.array(z.string()).min(1).meta({ description: 'For example RS256; never HS*' }),
  jwks_url: z.string().optional().meta({ description: 'Where its keys are, https' }),
  jwks_file: z.string().optional().meta({ description: 'File with its keys instead' }),
  subject_claim: z.string().optional().meta({ description: 'Claim that is the user id; sub' }),
  tenant: z.string().optional().meta({ description: 'Tenant of all its tokens' }),
  tenant_claim: z.string().optional().meta({ description: 'Claim that is the tenant instead' }),
  max_age_seconds: seconds(
    'How long the last valid keys are used if newer ones cannot be read; 86400',
  ),
  refresh_seconds: seconds('How often its keys are read; 300'),
  cooldown_seconds: seconds('Between reads for an unknown key; 30'),
  timeout_ms: z
    .int()
    .min(1)
    .max(60_000)
    .optional()
    .meta({ description: 'Time for a read (milliseconds)' }),
  clock_tolerance_seconds: z
    .int()
    .min(0)
    .max(MAX_MS / 1_000)
    .optional()
    .meta({ description: 'How far its clock may be off (seconds); 30' }),
  max_token_age_seconds: seconds('Tokens that are older are refused'),
  required: z.boolean().optional().meta({ description: 'Not ready without its keys; false' }),
});

export const settingsSchema = z
  .strictObject({
    catalog: z.string().default('actions.yaml').meta({ description: 'The action catalog' }),
    default_roles: z.string().default('roles.yaml').meta({ description: 'Roles of a new tenant' }),
    store: z.string().default('embedded:../data').meta({
      description:
        'embedded:DIR (relative to this file), redis://, rediss://, redis-sentinel:// or redis-cluster://',
    }),
    workers: z.int().min(1).max(64).default(1).meta({
      description:
        'Number of processes that decide, each on its own core; with more than one, another process supervises them',
    }),
    redis: z
      .strictObject({
        key_prefix: z
          .string()
          .default('postern')
          .meta({ description: 'Before the names of all keys' }),
        shards: z.int().min(1).max(1_024).default(16).meta({
          description: 'Hash slots that tenants spread over; fixed when the store is created',
        }),
        password_file: z.string().optional().meta({
          description: 'File with the password, instead of one in `store`',
        }),
        connect_timeout_ms: millis(2_000, 'Time for a connection to be made'),
        commit_timeout_ms: millis(5_000, 'Time for a commit, waiting for replicas included'),
        wait_replicas: z.int().min(0).max(1_000).default(0).meta({
          description: 'Replicas that must have a commit before it is acknowledged',
        }),
        wait_ms: millis(1_000, 'How long to wait for them'),
        feed_length: count(10_000, 'Commits of a tenant that its change feed keeps'),
        tls: z
          .strictObject({
            ca: z.string().optional().meta({ description: 'PEM file of authorities to trust' }),
            cert: z.string().optional().meta({ description: 'PEM file of the client certificate' }),
            key: z.string().optional().meta({ description: 'PEM file of its key' }),
            server_name: z.string().optional().meta({ description: 'Name that the server proves' }),
          })
          .prefault({}),
      })
      .prefault({}),
    grpc: z
      .strictObject({
        address: grpcAddress
          .default('127.0.0.1:4700')
          .meta({ description: 'host:port or unix:/path' }),
        socket_mode: socketMode,
        reflection: z.boolean().default(false).meta({ description: 'Serve reflection v1' }),
        max_message_bytes: count(4_194_304, 'Largest message that is read', MAX_TEXT_BYTES),
        compression: z
          .array(z.enum(['gzip', 'deflate']))
          .default([])
          .meta({ description: 'Ways in which callers may compress messages; none: they may not' }),
        max_concurrent_streams: count(256, 'Simultaneous calls on one connection'),
        max_connection_age_ms: millis(0, 'Age at which a client must reconnect; 0: no limit'),
        tls: z
          .strictObject({
            cert: z.string().optional().meta({ description: 'PEM file of the certificate chain' }),
            key: z.string().optional().meta({ description: 'PEM file of its key' }),
            client_ca: z.string().optional().meta({
              description: 'PEM file of authorities: callers must have a certificate of one',
            }),
            reload_ms: millis(60_000, 'How often the files are looked at for newer ones'),
          })
          .prefault({}),
        callers: z
          .array(
            z.strictObject({
              name: z.string().min(1),
              token_sha256: z
                .string()
                .regex(/^[0-9a-f]{64}$/, 'is not the SHA-256 of a token in lower-case hex'),
            }),
          )
          .default([])
          .meta({
            description: 'Services that may ask, by a bearer token; empty: anyone who can connect',
          }),
      })
      .prefault({}),
    admin: z
      .strictObject({
        enabled: z.boolean().default(false).meta({ description: 'Serve AdminService' }),
        token_file: z.string().optional().meta({
          description: "File with the operator's token, instead of POSTERN_ADMIN_TOKEN",
        }),
        max_state_bytes: z.int().min(1).max(MAX_TEXT_BYTES).default(268_435_456).meta({
          description: 'Largest state that is applied and exported, bytes',
        }),
        policy_sets: z
          .strictObject({
            max_bytes: count(POLICY_LIMITS.max_bytes, 'Bytes of a document', MAX_TEXT_BYTES),
            max_rules: count(POLICY_LIMITS.max_rules, 'Rules of a set'),
            max_actions: count(POLICY_LIMITS.max_actions, 'Actions of all rules of a set together'),
            max_attributes: count(
              POLICY_LIMITS.max_attributes,
              'Attribute values of all rules of a set together',
            ),
            max_depth: z.int().min(1).max(200).default(POLICY_LIMITS.max_depth).meta({
              description: 'Maps and lists of a document within each other',
            }),
            max_aliases: count(POLICY_LIMITS.max_aliases, 'YAML aliases of a document'),
          })
          .prefault({})
          .meta({ description: 'How large a policy set may be' }),
      })
      .prefault({}),
    identity: z
      .strictObject({
        jwt: z
          .array(issuer)
          .default([])
          .meta({ description: 'Issuers of bearer tokens that are trusted' }),
        usage_interval_ms: millis(
          60_000,
          'How often the times of the last use of keys are written; 0: never',
        ),
      })
      .prefault({}),
    routes: z.string().optional().meta({
      description: 'HTTP routes for Envoy; absent: Envoy is not answered',
    }),
    migrations: z
      .string()
      .default('migrations')
      .meta({ description: 'Directory of permission migrations' }),
    http: z
      .strictObject({
        address: httpAddress
          .default('127.0.0.1:4701')
          .meta({ description: 'host:port or unix:/path' }),
        socket_mode: socketMode,
      })
      .prefault({}),
    limits: z
      .strictObject({
        checks_per_batch: count(1_000, 'Checks in a BatchCheck'),
        objects_per_filter: count(10_000, 'Objects in a Filter'),
        attributes_per_resource: count(64, 'Attribute keys of a resource or source'),
        values_per_attribute: count(256, 'Values of an attribute'),
        sources_per_resource: count(256, 'Sources of a resource'),
        values_per_resource: count(16_384, 'Values of a resource, over all attributes and sources'),
        filter_object_cost: z.number().min(0).max(1_000).default(1).meta({
          description:
            'Requests that an object of a Filter counts as in the rate limit of its key; 0: a Filter is one request',
        }),
        waiting_calls: count(10_000, 'Calls that may wait for a min_revision at the same time'),
        receiving_bytes: count(
          67_108_864,
          'Bytes of messages that are being received, over all calls',
          MAX_BYTES,
        ),
        stream_in_flight: count(256, 'Messages of a CheckStream that wait for facts'),
        max_lag_ms: millis(
          1_000,
          'How late the process may be before new calls are refused; 0: however late',
        ),
        memory_bytes: z
          .int()
          .min(0)
          .max(64 * MAX_BYTES)
          .optional()
          .meta({
            description:
              'Objects and buffers of the process beyond which caches are emptied, then new calls refused; 0: however much; absent: of what the process may have',
          }),
        max_wait_ms: millis(5_000, 'Longest wait for facts, whatever the deadline of the call'),
      })
      .prefault({}),
    facts: z
      .strictObject({
        max_staleness_ms: millis(30_000, 'Age of facts beyond which nothing is answered'),
        heartbeat_ms: z.int().min(10).max(MAX_MS).default(500).meta({
          description: 'How often the change feed is looked at without a hint (milliseconds)',
        }),
        store_timeout_ms: z
          .int()
          .min(10)
          .max(MAX_MS)
          .default(1_000)
          .meta({ description: 'Time after which a read of the store has failed (milliseconds)' }),
        cached_subjects: count(100_000, 'Users kept compiled in memory'),
        cached_keys: count(10_000, 'API keys kept compiled in memory'),
        cache_bytes: count(
          25_165_824,
          'Memory of the users kept, and as much again for the keys',
          MAX_BYTES,
        ),
        cached_absent: count(10_000, 'Users and keys known not to exist'),
        cached_closures: count(10_000, 'Sets of groups kept compiled, a tenant'),
        cached_tenants: count(1_000, 'Tenants whose policies are kept in memory'),
        snapshot_file: z.string().optional().meta({
          description:
            'File with the last confirmed facts, for a start while the store is not reachable',
        }),
        snapshot_interval_ms: z
          .int()
          .min(100)
          .max(MAX_MS)
          .default(10_000)
          .meta({ description: 'How often it is written (milliseconds)' }),
      })
      .prefault({}),
    audit: auditSchema,
    tracing: z
      .strictObject({
        enabled: z
          .boolean()
          .default(false)
          .meta({ description: 'Send OpenTelemetry traces of decision calls' }),
        endpoint: z
          .string()
          .regex(/^https?:\/\/[^\s/]+\/\S+$/, 'is not a URL with a path, such as .../v1/traces')
          .default('http://127.0.0.1:4318/v1/traces')
          .meta({ description: 'Address of the collector, OTLP over HTTP' }),
        sample_ratio: z.number().min(0).max(1).default(0.1).meta({
          description: 'Share of the calls that are traced where the caller does not say',
        }),
        service_name: z
          .string()
          .min(1)
          .default('postern')
          .meta({ description: 'service.name of the spans' }),
      })
      .prefault({}),
    log: z
      .strictObject({
        level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
      })
      .prefault({}),
    shutdown: z
      .strictObject({
        lame_duck_ms: millis(0, 'Time between not ready and GOAWAY, for probes to notice'),
        grace_ms: millis(10_000, 'Time to end in: for calls in flight, then they are cut'),
      })
      .prefault({}),
  })
  .meta({ title: 'Postern settings' });

export type Settings = Readonly<z.output<typeof settingsSchema>>;
