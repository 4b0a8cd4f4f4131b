package dev.limasandbox.testbed;

import java.util.Arrays;
import java.util.List;

/**
 * A stand-in for limactl 2.2.0: the calls that this project makes, answered as the real one was seen to answer them,
 * its wrong exit codes included. The virtual machine is pretended, see {@link Guest}.
 */
public final class StandIn {
    private StandIn() {}

    /** Runs one limactl command line. */
    public static void main(String[] words) {
        try {
            run(Arrays.asList(words));
        } catch (Fatal e) {
            if (!e.getMessage().isEmpty()) {
                Log.fatal(e.getMessage());
            }
            System.exit(1);
        }
    }

    private static void run(List<String> words) {
        int at = 0;
        while (at < words.size()
                && words.get(at).startsWith("-")
                && !words.get(at).matches("-h|--help|-v|--version")) {
            at += List.of("--log-level", "--log-format").contains(words.get(at)) ? 2 : 1;
        }
        Flags.common().parse(words.subList(0, Math.min(at, words.size())));
        if (at >= words.size()) {
            help();
            return;
        }
        List<String> rest = words.subList(at + 1, words.size());
        switch (words.get(at)) {
            case "--version", "-v" -> {
                Flags.common().parse(rest);
                System.out.println("limactl version " + Commands.VERSION);
            }
            case "--help", "-h", "help" -> help();
            case "list", "ls" -> Commands.list(rest);
            case "create" -> Commands.create(rest);
            case "start" -> Commands.start(rest);
            case "hostagent" -> Commands.hostagent(rest);
            case "stop" -> Commands.stop(rest);
            case "restart" -> Commands.restart(rest);
            case "delete", "remove", "rm" -> Commands.delete(rest);
            case "factory-reset" -> Commands.factoryReset(rest);
            case "protect" -> Commands.protect(rest, true);
            case "unprotect" -> Commands.protect(rest, false);
            case "edit" -> Commands.edit(rest);
            case "clone" -> Commands.copyInstance(rest, false);
            case "rename", "mv" -> Commands.copyInstance(rest, true);
            case "snapshot" -> Commands.snapshot(rest);
            case "shell" -> Commands.shell(rest);
            case "copy", "cp" -> Commands.copy(rest);
            case "template", "tmpl" -> Commands.template(rest);
            default -> throw new Fatal("unknown command \"" + words.get(at) + "\" for \"limactl\"");
        }
    }

    private static void help() {
        System.out.println("A stand-in for limactl " + Commands.VERSION + ": no virtual machines here.\n"
                + "list create start stop restart delete factory-reset protect unprotect edit clone rename snapshot shell"
                + " copy template");
    }
}
