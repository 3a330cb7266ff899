/** Members of roles and workspaces: the verbs that both nouns have. */
import type { Command } from 'commander';
import { listAll } from '../kit/admin-client.ts';
import { given } from '../kit/arguments.ts';
import { EXIT, print } from '../kit/output.ts';
import { listing, reportWrite, yes, type WriteAnswer } from '../kit/results.ts';
import {
  limitOption,
  parseLimit,
  writeOptions,
  writing,
  type LimitFlag,
  type Run,
  type WriteFlags,
} from '../kit/verb.ts';

interface Member {
  readonly principal: string;
  readonly admin_option: boolean;
}

/** Adds `add-member`, `remove-member` and `members`. */
export function memberVerbs(noun: Command, run: Run, type: 'role' | 'workspace'): void {
  const group = (id: string): string => (id.startsWith(`${type}:`) ? id : `${type}:${id}`);
  const who = 'alice, user:alice or role:team';

  writing(
    noun
      .command('add-member')
      .description(`add users or roles to a ${type}, all or none of them`)
      .argument(`<${type}>`, 'the group')
      .argument('<member...>', who)
      .option('--with-admin-option', 'they may add and remove members of this group'),
  )
    .addHelpText('after', `\nExample:\n  postern ${type} add-member team alice bob carol`)
    .action(
      run(
        async (
          admin,
          options: WriteFlags & { withAdminOption?: boolean },
          id: string,
          members: readonly string[],
        ) => {
          const answer = await admin.call<WriteAnswer>('AddMember', {
            options: writeOptions(options),
            group: group(id),
            ...named(members),
            ...given({ admin_option: options.withAdminOption }),
          });
          reportWrite(admin.output, answer, {
            what: members.join(', '),
            done: `added to ${type} ${id}`,
          });
          return EXIT.ok;
        },
      ),
    );

  writing(
    noun
      .command('remove-member')
      .description(
        `remove members, all or none of them; grants they had given by the ${type} are revoked by cascade`,
      )
      .argument(`<${type}>`, 'the group')
      .argument('<member...>', who),
  ).action(
    run(async (admin, options: WriteFlags, id: string, members: readonly string[]) => {
      const answer = await admin.call<WriteAnswer>('RemoveMember', {
        options: writeOptions(options),
        group: group(id),
        ...named(members),
      });
      reportWrite(admin.output, answer, {
        what: members.join(', '),
        done: `removed from ${type} ${id}`,
      });
      return EXIT.ok;
    }),
  );

  noun
    .command('members')
    .description('list the direct members')
    .argument(`<${type}>`, 'the group')
    .addOption(limitOption())
    .action(
      run(async (admin, options: LimitFlag, id: string) => {
        const { items, answer } = await listAll<Member>(
          admin.call,
          'ListMembers',
          { group: group(id) },
          'members',
          parseLimit(options),
        );
        print(admin.output, answer, () =>
          listing(
            ['MEMBER', 'ADMIN OPTION'],
            items.map(({ principal, admin_option }) => [principal, yes(admin_option)]),
            'no members',
          ),
        );
        return EXIT.ok;
      }),
    );
}

/** One as servers have always taken it; several, which an older server does not know, without it: so it refuses them. */
function named(members: readonly string[]): object {
  return members.length === 1 ? { member: members[0] } : { members };
}
