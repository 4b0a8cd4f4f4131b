package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is set in an instance: resources, template, ports, and nothing that came from elsewhere. */
class ConfigTest {
    private static final long GIB = 1L << 30;

    private static String size(World world, String name) {
        return world.limactl("list", "--format", "{{.CPUs}} {{.Memory}} {{.Disk}}", name);
    }

    private static double totalGib() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getTotalMemorySize()
                / (double) GIB;
    }

    // --- resources ---

    @Test
    void resourcesComeFromTheOptionsElseTheEnvironment() {
        World world = World.shared();
        Path small = world.project("small");
        try {
            world.at(small).env("SANDBOX_MEMORY", "0.5").env("SANDBOX_CPUS", "1").env("SANDBOX_DISK", "30")
                    .run("small", "--memory=0.25", "true")
                    .exits(0);
            assertEquals("1 " + GIB / 4 + " " + 30 * GIB, size(world, "small"));
        } finally {
            world.delete("small");
        }
    }

    @Test
    void theDefaultsAreTheGuides() {
        World world = World.shared();
        Path usual = world.project("usual");
        try {
            world.at(usual).without("SANDBOX_CPUS").without("SANDBOX_MEMORY").run("--yes", "usual", "true").exits(0);
            int cpus = Math.min(4, Runtime.getRuntime().availableProcessors());
            assertEquals(cpus + " " + 4 * GIB + " " + 50 * GIB, size(world, "usual"));
        } finally {
            world.delete("usual");
        }
    }

    @ParameterizedTest
    @CsvSource({
            "--cpus, 0", "--cpus, 9999", "--cpus, two", "--memory, lots", "--memory, 0", "--memory, -1",
            "--memory, 99999",
            "--disk, 0", "--disk, 1e3", "--timeout, soon", "--timeout, 0s", "--publish, 0", "--publish, 70000",
            "--publish, a:b", "--publish, 0.0.0.0:1:2", "--template, no-such-file.yaml", "--add-agent, cloude",
            "--add-agent, claude@;rm"
    })
    void aValueThatMakesNoSenseIsAUsageError(String option, String value) {
        World world = World.shared();
        world.at(world.project("never")).run(option, value, "never", "true").exits(2).out("")
                .errHas(value.replaceAll(".*@", ""));
        assertFalse(Files.exists(world.lima.resolve("never")));
    }

    @ParameterizedTest
    @CsvSource({"SANDBOX_CPUS, many", "SANDBOX_MEMORY, 4GBit", "SANDBOX_DISK, big"})
    void aSettingThatMakesNoSenseIsNamed(String name, String value) {
        World world = World.shared();
        world.at(world.project("never")).env(name, value).run("never", "true").exits(2).errHas(name, value);
        assertFalse(Files.exists(world.lima.resolve("never")));
    }

    @Test
    void tooMuchMemoryIsAskedAboutBeforeTheStart() {
        World world = World.shared();
        Path first = world.project("first");
        Path second = world.project("second");
        try {
            world.at(first).run("memory1", "true").exits(0);
            String all = String.format(java.util.Locale.ROOT, "%.2f", totalGib() - 0.1);
            world.at(second).run("--memory", all, "memory2", "true")
                    .exits(125)
                    .errHas("memory1", "stop ", "--yes", "memory");
            assertFalse(world.sandboxes().contains("memory2") && world.status("memory2").equals("Running"));
            world.at(second).run("--yes", "memory2", "echo", "all the same").exits(0).out("all the same\n");
        } finally {
            world.delete("memory1", "memory2");
        }
    }

    // --- template ---

    @Test
    void aTemplatesMountsAndForwardsAreReplaced() {
        World world = World.shared();
        Path template = World.write(world.project("t").resolve("greedy.yaml"), """
                base: template:_images/ubuntu-lts
                mounts:
                - location: "~"
                  writable: true
                portForwards:
                - guestPort: 8080
                  hostIP: "0.0.0.0"
                ssh:
                  forwardAgent: true
                  loadDotSSHPubKeys: true
                provision:
                - mode: user
                  script: |
                    #!/bin/sh
                    echo yes > ~/provisioned
                """);
        Path project = world.project("greedy");
        try {
            world.at(project)
                    .run("--no-base", "--template", template.toString(), "greedy", "sh", "-c", "cat ~/provisioned")
                    .exits(0)
                    .out("yes\n");
            assertEquals(List.of(project + ":w"), world.mounts("greedy"));
            JsonNode config = world.config("greedy");
            for (JsonNode forward : config.path("portForwards")) {
                assertTrue(forward.path("ignore").asBoolean() || forward.has("guestSocket"), forward.toString());
            }
            assertFalse(config.path("ssh").path("forwardAgent").asBoolean());
            assertFalse(config.path("ssh").path("loadDotSSHPubKeys").asBoolean());
        } finally {
            world.delete("greedy");
        }
    }

    @Test
    void limasOwnTemplatesWork() {
        World world = World.shared();
        Path project = world.project("dockery");
        try {
            world.at(project).run("--no-base", "--template", "template:docker", "dockery", "pwd").exits(0)
                    .out(project + "\n");
            assertEquals(List.of(project + ":w"), world.mounts("dockery"));
        } finally {
            world.delete("dockery");
        }
    }

    @Test
    void theKindOfMachineIsLimas() {
        World world = World.shared();
        Path project = world.project("kind");
        try {
            world.at(project).run("--vm-type", "qemu", "kind", "true").exits(0);
            assertEquals("qemu", world.limactl("list", "--format", "{{.VMType}}", "kind"));
            world.at(project).run("--vm-type", "vz", "kind", "true").exits(125).errHas("--vm-type");
            world.at(project).run("--yes", "--no-base", "--vm-type", "bogus", "never", "true").exits(125)
                    .errHas("bogus");
            assertFalse(world.instances().contains("never"), "nothing half-made stays");
        } finally {
            world.delete("kind");
        }
    }

    @Test
    void certificatesAreHandedOnAndTheirBaseIsKeptApart() {
        World world = World.shared();
        Path project = world.project("company");
        String pem = "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n";
        Path file = World.write(world.project("ca").resolve("company ca.pem"), "One:\n" + pem);
        Path key = World.write(world.project("ca").resolve("key.pem"), pem + "-----BEGIN PRIVATE KEY-----\n");
        Path text = World.write(world.project("ca").resolve("text.pem"), "no certificate");
        int bases = world.instances().size() - world.sandboxes().size();
        try {
            world.at(project).run("--ca", key.toString(), "company", "true").exits(2).errHas("private key");
            world.at(project).run("--ca", text.toString(), "company", "true").exits(2).errHas("no certificate");
            world.at(project).run("--ca", "none.pem", "company", "true").exits(2).errHas("none.pem");
            world.at(project).run("--ca", file.toString(), "company", "true").exits(0);
            assertEquals(pem, world.config("company").path("caCerts").path("certs").path(0).asText());
            assertEquals(bases + 1, world.instances().size() - world.sandboxes().size());
            world.at(project).env("SANDBOX_CA", file.toString()).run("company", "true").exits(0);
            world.at(project).run("--yes", "plain", "true").exits(0);
            assertTrue(world.config("plain").path("caCerts").path("certs").isEmpty());
            world.at(project).run("--ca", file.toString(), "plain", "true").exits(125).errHas("update-ca-certificates");
        } finally {
            world.delete("company", "plain");
        }
    }

    @Test
    void aTemplatesNameAloneIsExplained() {
        World world = World.shared();
        world.at(world.project("named")).run("--template", "docker", "never", "true").exits(2)
                .errHas("template:docker");
    }

    @Test
    void thePrintedTemplateStartsWithPlainLima() {
        World world = World.shared();
        String text = world.cli().run("--print-template").exits(0).silent().out();
        assertEquals(World.read(World.CHECKOUT.resolve("templates/agent-sandbox.yaml")), text);
        Path file = World.write(world.project("printed").resolve("t.yaml"), text);
        try {
            world.limactl("create", "--tty=false", "--name", "printed", file.toString());
            assertEquals(List.of(), world.mounts("printed"));
        } finally {
            world.delete("printed");
        }
    }

    @Test
    void aSandboxOfAnOlderVersionIsEnteredAndOneLineSaysWhatItLacks() {
        World world = World.shared();
        Path project = world.project("older");
        String text = world.cli().run("--print-template").exits(0).out();
        Path old = World.write(project.resolve("old.yaml"), text.replaceAll("version=[0-9]+", "version=1")
                .replaceAll("agent-sandbox [0-9]+\"", "agent-sandbox 1\""));
        try {
            Cli.Result r = world.at(project).run("--no-base", "--template", old.toString(), "older", "echo", "well")
                    .exits(0).out("well\n");
            assertEquals(1, r.err().lines().filter(l -> l.contains("older version of sandbox")).count(), r.err());
            world.at(project).run("older", "true").exits(0).errLacks("older version");
        } finally {
            world.delete("older");
        }
    }

    /** Lima exits with 0 and calls the machine ready (seen on 2.2.0). */
    @Test
    void aScriptOfAForeignTemplateThatFailsIsShownWithItsLastWords() {
        World world = World.shared();
        Path project = world.project("cheese");
        Path template = world.template("system", "echo 'the cheese is out'\nexit 7\n");
        try {
            world.at(project).run("--no-base", "--template", template.toString(), "cheese", "true").exits(125).out("")
                    .errHas("its set-up failed: ", "/provision.system/", "  the cheese is out",
                            "limactl shell cheese");
            world.at(project).run("cheese", "true").exits(125).out("").errHas("the cheese is out");
            world.stop("cheese");
        } finally {
            world.delete("cheese");
        }
    }

    @Test
    void aProbeThatNeverHoldsIsNamedWithItsHint() {
        World world = World.shared();
        Path project = world.project("probed");
        Path template = World.write(project.resolve("t.yaml"), """
                base: template:_images/ubuntu-lts
                probes:
                - description: the moon is full
                  script: |
                    #!/bin/sh
                    test -e /moon
                  hint: wait for it
                """);
        try {
            String[] named = {"'the moon is full' does not hold: wait for it", "limactl delete -f probed"};
            world.at(project).run("--no-base", "--timeout", "10s", "--template", template.toString(), "probed", "true")
                    .exits(125).out("").errHas(named);
            world.at(project).run("probed", "true").exits(125).out("").errHas(named);
        } finally {
            world.delete("probed");
        }
    }

    // --- ports ---

    @Test
    void publishedPortsAreForwardedOnLoopbackAndNothingElse() {
        World world = World.shared();
        Path web = world.project("web");
        try {
            world.at(web).run("--publish", "18080:8080", "--publish=13000", "web", "true").exits(0);
            StringBuilder open = new StringBuilder();
            boolean closed = false;
            for (JsonNode forward : world.config("web").path("portForwards")) {
                if (forward.path("ignore").asBoolean()) {
                    closed = true;
                    assertEquals("0.0.0.0", forward.path("guestIP").asText(), forward.toString());
                    assertFalse(forward.path("guestIPMustBeZero").asBoolean(true), forward.toString());
                } else if (!forward.has("guestSocket")) {
                    assertFalse(closed, "an open rule behind the one that closes all");
                    open.append(forward.path("hostIP").asText()).append(':').append(forward.path("hostPort").asInt())
                            .append('=').append(forward.path("guestPort").asInt()).append(' ');
                }
            }
            assertEquals("127.0.0.1:18080=8080 127.0.0.1:13000=13000 ", open.toString());
            assertTrue(closed);
            world.at(web).run("--publish", "18080:8080", "web", "echo", "same").exits(0).out("same\n");
        } finally {
            world.delete("web");
        }
    }

    // --- what Lima merges in ---

    @ParameterizedTest
    @ValueSource(strings = {
            "override|mounts: [{location: \"EXTRA\", writable: true}]|EXTRA",
            "default|mounts: [{location: \"EXTRA\"}]|EXTRA",
            "override|portForwards: [{guestPort: 8081, hostPort: 8081}]|8081",
            "override|ssh: {forwardAgent: true}|forwardAgent",
    })
    void whatLimasConfigAddsIsNamedAndRefused(String line) {
        String[] parts = line.split("\\|");
        World world = World.fresh();
        Path extra = world.project("extra");
        Path project = world.project("project");
        world.at(project).run("--no-base", "before", "true").exits(0);
        world.stop("before");

        Path config = World.write(world.lima.resolve("_config").resolve(parts[0] + ".yaml"),
                parts[1].replace("EXTRA", extra.toString()) + "\n");
        String named = parts[2].replace("EXTRA", extra.toString());
        world.at(project).run("--yes", "--no-base", "after", "touch", "entered").exits(125).out("").errHas(named,
                "_config");
        assertFalse(world.instances().contains("after"), "nothing half-made stays");
        world.at(project).run("--yes", "with-base", "touch", "entered").exits(125).errHas(named, "_config");
        world.at(project).run("before", "touch", "entered").exits(125).out("").errHas(named, "_config");
        assertEquals("Stopped", world.status("before"));
        assertFalse(Files.exists(project.resolve("entered")));

        World.write(config, "");
        world.at(project).run("before", "echo", "well").exits(0).out("well\n");
        world.close();
    }

    // --- whose instance ---

    @Test
    void anInstanceThatThisToolDidNotMakeIsRefused() {
        World world = World.shared();
        Path theirs = World.write(world.project("theirs").resolve("file"), "theirs").getParent();
        try {
            world.limactl("create", "--tty=false", "--name", "alien", "--mount-only", theirs + ":w",
                    "template:default");
            world.at(theirs).run("alien", "cat", "file").exits(125).out("").errHas("alien", theirs.toString(),
                    "--foreign");
            assertEquals("Stopped", world.status("alien"));
            world.at(theirs).run("--foreign", "alien", "cat", "file").exits(0).out("theirs");
            // In NAME's place a directory never means a foreign one.
            world.at(theirs).run().exits(2).errLacks("alien");
        } finally {
            world.delete("alien");
        }
    }

    @Test
    void oursStayOursWhenLimaRenamesOrClonesThem() {
        World world = World.shared();
        Path mine = world.project("mine");
        try {
            world.at(mine).run("mine1", "true").exits(0);
            world.stop("mine1");
            world.limactl("rename", "mine1", "mine2");
            world.at(mine).run("mine2", "pwd").exits(0).out(mine + "\n");
            world.stop("mine2");
            world.limactl("clone", "--tty=false", "mine2", "mine3");
            world.at(mine).run("mine3", "pwd").exits(0).out(mine + "\n");
        } finally {
            world.delete("mine1", "mine2", "mine3");
        }
    }

    // --- for the moment only ---

    @Test
    void rmDeletesWhatThisCallMadeAndKeepsTheExitCode() {
        World world = World.shared();
        Path moment = world.project("moment");
        World.write(world.lima.resolve("_sandbox/snapshots/moment/one/meta.json"), "{}");
        world.at(moment).run("--rm", "moment", "sh", "-c", "echo out; exit 7").exits(7).out("out\n");
        assertFalse(world.instances().contains("moment"));
        for (String kind : List.of("snapshots", "sessions", "live")) {
            assertFalse(Files.exists(world.lima.resolve("_sandbox/" + kind + "/moment")), kind);
        }
        try {
            world.at(moment).run("moment", "true").exits(0);
            world.at(moment).run("--rm", "moment", "sh", "-c", "exit 3").exits(3);
            assertTrue(world.instances().contains("moment"), "an older one is kept");
        } finally {
            world.delete("moment");
        }
    }

    // --- without Lima ---

    @Test
    void withoutLimactlThereIsOneClearMessage() {
        World world = World.shared();
        Cli cli = world.at(world.home).env("PATH", "/usr/bin:/bin").env("JAVA_HOME", System.getProperty("java.home"));
        Cli.Result result = cli.run("nolima", "true").exits(125).out("").errHas("limactl", "lima-vm.io", "testbed/try");
        result.errLacks("Exception", "\tat ");
        assertTrue(result.err().lines().count() <= 4, result.err());
        cli.run().exits(125).errHas("limactl");
    }
}
