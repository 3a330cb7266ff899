/** The least rights that Postern needs in Redis: what the tests prove is what docs/redis.md quotes. */

/** Each for a reason: without any one of them something fails. */
export const COMMANDS: readonly string[] = [
  // The connection, and whether this Redis is fit to be used.
  'info',
  'role',
  // Reads and commits are scripts …
  'script|load',
  'eval',
  'evalsha',
  'eval_ro',
  'evalsha_ro',
  // … and what they and the rest call.
  'get',
  'mget',
  'set',
  'type',
  'hget',
  'hset',
  'hdel',
  'zadd',
  'zrange',
  'zrem',
  'sadd',
  'smembers',
  'xadd',
  'xrange',
  // What a large commit is prepared with.
  'hlen',
  'persist',
  'pexpire',
  'rename',
  'unlink',
  'zcard',
  // Hints.
  'publish',
  'subscribe',
];

/** Large commits are prepared by these; without them they are one script. */
export const COMMANDS_FOR_LARGE: readonly string[] = [
  'hlen',
  'persist',
  'pexpire',
  'rename',
  'unlink',
  'zcard',
];

/** Without these it works, in more round trips, or with reads that a pause of writes holds up. */
export const COMFORT: readonly string[] = [
  'script|load',
  'eval_ro',
  'evalsha_ro',
  ...COMMANDS_FOR_LARGE,
];

/** Of an instance that decides and never writes: read access to the keys, and no more (CONS-7). */
export const COMMANDS_TO_READ: readonly string[] = [
  'info',
  'role',
  'script|load',
  'eval_ro',
  'evalsha_ro',
  'get',
  'mget',
  'hget',
  'zrange',
  'smembers',
  'xrange',
  'subscribe',
];

/** Where `redis.wait_replicas` is not 0. */
export const COMMANDS_TO_WAIT: readonly string[] = ['wait'];

/** With redis-cluster://; a name that is refused only fills its ACL LOG. */
export const COMMANDS_OF_CLUSTER: readonly string[] = [
  'cluster|info',
  'cluster|slots',
  'client|setname',
];

/** The rules of `ACL SETUSER`, without name and password. */
export function rules(
  keyPrefix: string,
  commands: readonly string[] = COMMANDS,
  access: '~' | '%R~' = '~',
): readonly string[] {
  return [
    'resetkeys',
    'resetchannels',
    `${access}${keyPrefix}:*`,
    `&${keyPrefix}:*`,
    '-@all',
    ...commands.map((command) => `+${command}`),
  ];
}
