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
  // Hints.
  'publish',
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
): readonly string[] {
  return [
    'resetkeys',
    'resetchannels',
    `~${keyPrefix}:*`,
    `&${keyPrefix}:*`,
    '-@all',
    ...commands.map((command) => `+${command}`),
  ];
}
