/** Postern's two gRPC services as their proto files define them, for clients of tests. Fields are named as in the files. */
import { join } from 'node:path';
import {
  credentials,
  makeClientConstructor,
  type Client,
  type ClientOptions,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { PACKAGE_ROOT } from './package-root.ts';

const FILES = {
  AuthorizationService: 'postern/v1/authorization.proto',
  AdminService: 'postern/v1/admin.proto',
} as const;

interface ProtoMethod {
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Readonly<Record<string, unknown>>;
}

/** Everything in the proto file of a service: its methods, messages and enums. */
export function definitionOf(service: keyof typeof FILES): PackageDefinition {
  return loadSync(FILES[service], {
    includeDirs: [join(PACKAGE_ROOT, 'proto')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
  });
}

/** The methods of a service by their names. */
export function methodsOf(service: keyof typeof FILES): Readonly<Record<string, ProtoMethod>> {
  // The loader types an entry as a service, a message or an enum; this name is a service.
  return definitionOf(service)[`postern.v1.${service}`] as unknown as Readonly<
    Record<string, ProtoMethod>
  >;
}

/** A client with a method for each method of the service. */
export function clientOf(
  service: keyof typeof FILES,
  address: string,
  options: ClientOptions = {},
): Client {
  const definition = definitionOf(service)[`postern.v1.${service}`] as ServiceDefinition;
  const Service = makeClientConstructor(definition, service);
  return new Service(address, credentials.createInsecure(), options);
}
