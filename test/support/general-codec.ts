/** Messages of `authorization.proto` by a general codec: what the hand-written one is held against. */
import { join, resolve } from 'node:path';
import protobuf from 'protobufjs';

const root = new protobuf.Root();
root.resolvePath = (_origin, target): string =>
  target.startsWith('google/') ? target : join(resolve('proto'), target);
root.loadSync('postern/v1/authorization.proto', { keepCase: true }).resolveAll();

const type = (name: string): protobuf.Type => root.lookupType(`postern.v1.${name}`);

export const encode = (name: string, value: object): Buffer =>
  Buffer.from(type(name).encode(type(name).fromObject(value)).finish());

export const decode = (name: string, bytes: Buffer): Record<string, unknown> =>
  type(name).toObject(type(name).decode(bytes), { longs: Number, enums: String, arrays: true });
