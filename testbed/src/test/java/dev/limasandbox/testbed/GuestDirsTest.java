package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Directories of a project on the sandbox's own disk: by --guest-dir, and what a build writes. */
@EnabledOnOs(OS.LINUX) // where the stand-in's guests can mount
class GuestDirsTest {
    @Test
    void areOnTheDiskUntilTakenOff() {
        World world = World.shared();
        Path project = world.project("gd, #1"); // Lima itself could not mount it there
        World.write(project.resolve("node_modules/host"), "h");
        World.write(project.resolve("app/x"), "x");
        Path dirs = project.resolve("app/out");
        try {
            world.at(project).run("--guest-dir", "node_modules,app/out", "--guest-dir", ".cache", "gd", "sh", "-c",
                    "ls node_modules; for d in node_modules app/out .cache; do echo g >$d/guest; done").exits(0).out("")
                    .errHas("node_modules is on the sandbox's own disk; what this computer has there (1 entry) is"
                            + " hidden in it, not lost");
            assertEquals(List.of("host"), children(project.resolve("node_modules")));
            assertEquals(List.of(), children(dirs));
            assertEquals(List.of(), children(project.resolve(".cache")));

            // They need no second word, at the next start neither, and when somebody here deletes one meanwhile.
            world.stop("gd");
            World.remove(dirs);
            world.at(project).run("gd", "sh", "-c", "cat */guest app/out/guest").exits(0).out("g\ng\n");
            World.remove(dirs);
            world.at(project.resolve("app")).run("gd", "cat", "out/guest").exits(0).out("g\n").silent();
            world.at(project).run("guest-dirs", ".").exits(0)
                    .out(project + "/.cache\n" + dirs + "\n" + project + "/node_modules\n");
            world.at(project).run("--guest-dir", "app", "gd", "cat", "app/out/guest").exits(0).out("g\n");

            world.at(project).run("--guest-dir", "none,.cache", "gd", "sh", "-c",
                    "cat node_modules/* .cache/guest app/x; ls app/out").exits(0).out("hg\nx")
                    .errHas("node_modules is on the mount again; what the sandbox had there stays in its"
                            + " /var/lib/sandbox/disk" + project + "/node_modules");
        } finally {
            world.delete("gd");
        }
    }

    @Test
    void leadNowhereElse() {
        World world = World.shared();
        Path project = world.project("gdno");
        World.link(project.resolve("out"), world.home);
        World.link(project.resolve("gone"), world.home.resolve("nothing"));
        World.link(project.resolve("in"), World.directory(project.resolve("real")));
        World.write(project.resolve("file"), "");
        try {
            for (String path : List.of("..", "a/../../b", "/tmp", "", ".", "a,,b")) {
                world.at(project).run("--guest-dir", path, "gdno", "true").exits(2)
                        .errHas("--guest-dir takes relative paths");
            }
            assertFalse(world.instances().contains("gdno"));
            world.at(project).run("--guest-dir", "in", "gdno", "sh", "-c", "mountpoint -q real && echo 1").exits(0)
                    .out("1\n");
            for (String path : List.of("out", "out/p", "gone")) {
                world.at(project).run("--guest-dir", path, "gdno", "true").exits(2)
                        .errHas(path + " leads out of " + project);
            }
            world.at(project).run("--guest-dir", "file", "gdno", "true").exits(2).errHas("file is a file");
            world.at(project).run("guest-dirs", "gdno", "../x").exits(2)
                    .errHas("'../x' is no directory in the project");
        } finally {
            world.delete("gdno");
        }
    }

    /** Real builds, with the libraries that the host's Maven brought into the tester's repository before. */
    @Test
    void holdABuildAndBringItsReportsBack() {
        World world = World.shared();
        Path repository = Path.of(System.getProperty("user.home"), ".m2/repository");
        Path project = world.project("gdmvn");
        Path elsewhere = world.project("brought");
        buildOf(elsewhere, "");
        Cli.start(elsewhere, System.getenv(), List.of("mvn", "-q", "-B", "clean", "verify")).ends(Duration.ofMinutes(5))
                .exits(0);
        String[] build = {"gdmvn", "mvn", "-B", "-T2", "-Dmaven.repo.local=" + repository, "clean", "verify"};
        Path report = project.resolve("core/target/surefire-reports/TEST-OneTest.xml");
        try {
            // What the POM asks for is done; SANDBOX_TARGET asks the same from outside.
            buildOf(project, "<lima.target>guest</lima.target>");
            World.write(project.resolve("core/target/of-the-host"), "");
            Cli.Result first = world.at(project).run(Stream.concat(Stream.of("--mount", repository.toString()),
                    Stream.of(build)).toArray(String[]::new)).exits(0)
                    .errHas("core/target is on the sandbox's own disk",
                            "odd/made is on the sandbox's own disk", "left where it is")
                    .outHas("Tests run: 1, Failures: 0");
            assertTrue(first.out().contains("BUILD SUCCESS"), first.out());
            assertTrue(World.read(report).contains("failures=\"0\""));
            assertTrue(Files.exists(project.resolve("core/target/of-the-host")), "what the host has is only hidden");
            assertEquals(List.of(), children(project.resolve("odd/made")).stream()
                    .filter(f -> !f.equals("surefire-reports")).toList());
            world.at(project).run("gdmvn", "sh", "-c", "ls core/target/*.jar odd/made/*.jar; ls core/target/of*")
                    .exits(2)
                    .out("core/target/core-1.jar\nodd/made/odd-1.jar\n");

            // A failing test, after the host has deleted all of it.
            World.remove(project.resolve("core/target"));
            World.remove(project.resolve("odd/made"));
            World.write(project.resolve("core/src/test/resources/fail"), "");
            world.at(project).run(build).exits(1).errLacks("on the sandbox's own disk");
            assertTrue(World.read(report).contains("failures=\"1\""));
            assertFalse(Files.exists(project.resolve("core/target/classes")));
            world.at(project).run("gdmvn", "cat", "/etc/systemd/user/docker.service.d/sandbox-api.conf").exits(0)
                    .out("[Service]\nEnvironment=DOCKER_MIN_API_VERSION=1.24\n"); // for Testcontainers before 1.21.4

            // A module more is seen; and a clean takes the reports away here too.
            World.write(project.resolve("pom.xml"), World.read(project.resolve("pom.xml"))
                    .replace("<module>odd<", "<module>odd</module><module>more<"));
            World.write(project.resolve("more/pom.xml"), pom("more", ""));
            world.at(project).run("gdmvn", "mvn", "-B", "-Dmaven.repo.local=" + repository, "clean").exits(0)
                    .errHas("more/target is on the sandbox's own disk").errLacks("core/target");
            assertFalse(Files.exists(report));

            world.at(project).env("SANDBOX_TARGET", "host").run("gdmvn", "mvn", "-v").exits(0)
                    .errHas("core/target is on the mount again");
            world.at(project).run("gdmvn", "sh", "-c", "mountpoint -q core/target || echo off").exits(0).out("off\n");
        } finally {
            world.delete("gdmvn");
        }
    }

    /** An agent's mvn and a person's lima:exec name the JDK differently; seen on a real VM: 6 s more for each of their calls. */
    @Test
    void callersThatComeToTheSameJdkTakeTurns() {
        World world = World.shared();
        Path project = world.project("turns");
        buildOf(project, "");
        String outer = "--outer\n" + Runtime.version().feature();
        try {
            world.at(project).env("SANDBOX_JVM", outer).run("turns", "mvn", "-v").exits(0).errHas("jvm: JDK");
            world.at(project).run("turns", "mvn", "-v").exits(0).errHas("jvm: JDK");
            world.at(project).env("SANDBOX_JVM", outer).run("turns", "mvn", "-v").exits(0).errLacks("jvm:");
            world.at(project).run("turns", "mvn", "-v").exits(0).errLacks("jvm:");
            World.write(project.resolve("pom.xml"), World.read(project.resolve("pom.xml")) + "<!-- other -->");
            world.at(project).run("turns", "mvn", "-v").exits(0).errHas("jvm: JDK");
        } finally {
            world.delete("turns");
        }
    }

    /** Seen with Gradle 4.4.1 on a real Lima: its clean failed on a directory that was named by hand. */
    @Test
    void namedByHandAreEmptiedByCleanToo() {
        World world = World.shared();
        Path project = world.project("gdnamed");
        World.write(project.resolve("app/build.gradle"), "");
        String told = "ls ~/.gradle/init.d 2>/dev/null; true";
        try {
            world.at(project).run("--guest-dir", "node_modules", "gdnamed", "sh", "-c", told).exits(0).out("");
            world.at(project).run("--guest-dir", "app/build", "gdnamed", "sh", "-c", told).exits(0)
                    .out("sandbox-guest-dirs.gradle\n");
        } finally {
            world.delete("gdnamed");
        }
    }

    /** No Gradle here: what stands for it shows what it would find. */
    @Test
    void holdGradlesBuildToo() {
        World world = World.shared();
        Path project = world.project("gdgradle");
        World.write(project.resolve("settings.gradle"), "include ':a', 'b:c'\ninclude('gone')\n");
        World.write(project.resolve("a/build.gradle"), "");
        World.write(project.resolve("b/c/build.gradle"), "");
        World.executable(project.resolve("gradlew"), """
                #!/bin/sh
                for d in build a/build b/c/build .gradle; do mountpoint -q $d && echo $d; done
                mkdir -p b/c/build/test-results/test b/c/build/classes
                echo report >b/c/build/test-results/test/TEST-x.xml
                grep -c taskGraph ~/.gradle/init.d/sandbox-guest-dirs.gradle
                exit 1
                """);
        try {
            world.at(project).env("SANDBOX_TARGET", "guest").run("gdgradle", "./gradlew", "test").exits(1)
                    .out("build\na/build\nb/c/build\n.gradle\n1\n");
            assertEquals("report\n", World.read(project.resolve("b/c/build/test-results/test/TEST-x.xml")));
            assertFalse(Files.exists(project.resolve("b/c/build/classes")));
            assertFalse(Files.exists(project.resolve("gone")));
        } finally {
            world.delete("gdgradle");
        }
    }

    private static void buildOf(Path project, String property) {
        World.write(project.resolve("pom.xml"), pom("gdmvn", """
                <packaging>pom</packaging>
                <modules><module>core</module><module>odd</module><module>computed</module></modules>
                <properties>%s
                  <maven.compiler.release>17</maven.compiler.release>
                  <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
                </properties>
                <dependencies><dependency><groupId>org.junit.jupiter</groupId><artifactId>junit-jupiter</artifactId>
                  <version>%s</version><scope>test</scope></dependency></dependencies>
                <build><pluginManagement><plugins>%s</plugins></pluginManagement></build>
                """.formatted(property, version("junit"), Map.of("clean", "3.5.0", "compiler", version("compiler"),
                "resources", version("resources"), "surefire", version("surefire"), "jar", version("jar")).entrySet()
                .stream().map(e -> "<plugin><artifactId>maven-" + e.getKey() + "-plugin</artifactId><version>"
                        + e.getValue() + "</version></plugin>")
                .reduce("", String::concat))));
        World.write(project.resolve("core/pom.xml"), pom("core", ""));
        World.write(project.resolve("odd/pom.xml"), pom("odd", "<build><resources><resource><directory>res</directory>"
                + "</resource></resources><directory>${project.basedir}/made</directory></build>"));
        World.write(project.resolve("computed/pom.xml"), pom("computed", "<packaging>pom</packaging>"
                + "<build><directory>${project.basedir}/${project.artifactId}-out</directory></build>"));
        for (String module : List.of("core", "odd")) {
            World.write(project.resolve(module + "/src/main/java/One.java"), "class One {}");
            World.write(project.resolve(module + "/src/test/java/OneTest.java"),
                    "class OneTest { @org.junit.jupiter.api.Test void t() {"
                            + " org.junit.jupiter.api.Assertions.assertNull(getClass().getResource(\"/fail\")); } }");
        }
    }

    private static String pom(String artifact, String more) {
        return """
                <project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>%s
                <groupId>it</groupId><artifactId>%s</artifactId><version>1</version>%s</project>
                """.formatted(artifact.equals("gdmvn") ? "" : "<parent><groupId>it</groupId>"
                + "<artifactId>gdmvn</artifactId><version>1</version></parent>", artifact, more);
    }

    /** A plugin's or JUnit's version in this project's own build, so that nothing else is to be downloaded. */
    private static String version(String of) {
        var found = java.util.regex.Pattern.compile("(?s)(?:<" + of + "[.a-z]*\\.version>|<artifactId>maven-" + of
                + "-plugin</artifactId>\\s*<version>)([^<$]+)<").matcher(World.read(World.CHECKOUT.resolve("pom.xml")));
        assertTrue(found.find(), of);
        return found.group(1);
    }

    private static List<String> children(Path directory) {
        try (Stream<Path> children = Files.list(directory)) {
            return children.map(c -> c.getFileName().toString()).sorted().toList();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
