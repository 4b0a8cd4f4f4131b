package dev.limasandbox;

import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import org.apache.maven.execution.MavenSession;
import org.apache.maven.plugin.AbstractMojo;
import org.apache.maven.plugin.MojoExecution;
import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugin.MojoFailureException;
import org.apache.maven.plugins.annotations.Parameter;
import org.apache.maven.settings.Profile;

/**
 * What every goal has. A goal turns its parameters into a command line of {@code sandbox}, {@code sandboxes} or
 * {@code snapshot} and calls that: making, starting and entering a sandbox exist once, there.
 */
abstract class LimaMojo extends AbstractMojo {
    /** Do nothing. */
    @Parameter(property = "lima.skip", defaultValue = "false")
    boolean skip;

    /** The sandbox's name. Without it: the sandbox that has the build's root mounted, else a new one for it. */
    @Parameter(property = "lima.name")
    String name;

    /**
     * A directory in place of the build's own. From outside of a tree that an agent may have changed, nothing of it runs
     * on this computer: {@code mvn lima:exec -Dcmd=test -Dlima.dir=DIR}.
     */
    @Parameter(property = "lima.dir")
    File dir;

    /**
     * Lets the Maven in the sandbox read this computer's ~/.m2/repository, which is mounted read-only. Only from the
     * command line or settings.xml.
     */
    @Parameter(property = "lima.hostRepository", defaultValue = "false")
    boolean hostRepository;

    /** The JDK in the sandbox, 21 for example. Without it: what the project says, else the one that Maven runs on here. */
    @Parameter(property = "lima.jdk")
    String jdk;

    /**
     * Where the modules' build output lies: guest (on the sandbox's own disk, which is faster; on this computer are only the
     * test reports) or host (where it is seen from here). Without it: as it was; at first, host.
     */
    @Parameter(property = "lima.target")
    String target;

    @Parameter(defaultValue = "${basedir}", readonly = true, required = true)
    File basedir;

    @Parameter(defaultValue = "${session}", readonly = true, required = true)
    MavenSession session;

    @Parameter(defaultValue = "${mojoExecution}", readonly = true, required = true)
    MojoExecution execution;

    /** What limactl was asked beforehand, until it counts or is out of date. */
    private CompletableFuture<List<Sandbox.Instance>> asked;

    @Override
    public final void execute() throws MojoExecutionException, MojoFailureException {
        if (skip) {
            getLog().info("skipped (lima.skip)");
        } else if (inside() && (bound() || !worksInside())) {
            getLog().info("this build runs in a sandbox already: lima:" + execution.getGoal() + " does nothing here");
        } else {
            try {
                checkAim();
                work();
            } catch (Sandbox.Lima.Failure failure) {
                throw new MojoExecutionException(failure.getMessage(), failure);
            }
        }
    }

    /** Another directory than the build's is the user's choice; a sandbox that a POM names must be the build's own. */
    private void checkAim() throws MojoExecutionException {
        if (dir != null && onlyFromUser("lima.dir") == null) {
            throw fromProject("lima.dir", "a POM");
        }
        if (target != null && !target.matches("guest|host")) {
            throw new MojoExecutionException("lima.target is guest or host, not " + target);
        }
        Path root = Sandbox.Places.real(root());
        if (name != null && session.getUserProperties().getProperty("lima.name") == null
                && found().filter(is -> is.mounts().stream().noneMatch(m -> m.covers(root))).isPresent()) {
            throw new MojoExecutionException("the POM names the sandbox " + name + ", which does not have " + root
                    + " mounted. If it is meant all the same: -Dlima.name=" + name);
        }
    }

    abstract void work() throws MojoExecutionException, MojoFailureException;

    /** Has the goal a meaning inside of a sandbox, if somebody types it there? */
    boolean worksInside() {
        return false;
    }

    /** Without this a build that has exec bound to one of its phases would start itself for ever. */
    static boolean inside() {
        return System.getenv("LIMA_SANDBOX") != null || Files.isDirectory(Path.of("/run/sandbox"));
    }

    boolean bound() {
        return execution.getLifecyclePhase() != null;
    }

    /** Where the command is to run: lima.dir, else the current module's directory. */
    Path where() throws MojoExecutionException {
        if (dir != null && !dir.isDirectory()) {
            throw new MojoExecutionException("lima.dir: there is no directory " + dir);
        }
        return (dir != null ? dir : basedir).toPath().toAbsolutePath().normalize();
    }

    /** The root of the build, which a new sandbox gets to see. */
    Path root() throws MojoExecutionException {
        File top = session.getRequest().getMultiModuleProjectDirectory();
        return dir != null || top == null ? where() : top.toPath();
    }

    /** The sandbox that is meant, if there is one yet. */
    Optional<Sandbox.Instance> found() throws MojoExecutionException {
        return meant().stream().findFirst();
    }

    private List<Sandbox.Instance> meant() throws MojoExecutionException {
        Path root = Sandbox.Places.real(root());
        return all().stream()
                .filter(i -> isNamed() ? i.name.equals(target())
                        : i.isSandbox() && i.mounts().stream().anyMatch(m -> m.covers(root)))
                .toList();
    }

    /** Without a usable limactl none: what is missing, and how to install it, is told by the engine. */
    private List<Sandbox.Instance> meantIfLimaIsThere() throws MojoExecutionException {
        try {
            return meant();
        } catch (Sandbox.Lima.Failure noLima) {
            return List.of();
        }
    }

    /** Has limactl asked for all instances while a goal still looks at its build; not where this build knows its own. */
    void ask() throws MojoExecutionException {
        if (!session.getRequest().getData().containsKey(started())) {
            asked = CompletableFuture.supplyAsync(() -> Sandbox.Instance.all(new Sandbox.Lima(System.getenv())));
        }
    }

    /** What limactl tells; what was asked beforehand counts once, as a goal changes what there is. */
    private List<Sandbox.Instance> all() {
        CompletableFuture<List<Sandbox.Instance>> before = asked;
        asked = null;
        try {
            return before != null ? before.join() : Sandbox.Instance.all(new Sandbox.Lima(System.getenv()));
        } catch (CompletionException e) {
            throw e.getCause() instanceof Sandbox.Lima.Failure failure ? failure : e;
        }
    }

    /** Is it meant by a name? Else by the directory that it has mounted. */
    boolean isNamed() {
        return name != null && !name.isBlank();
    }

    /** NAME on the command line of sandbox, sandboxes and snapshot. */
    String target() {
        return isNamed() ? name.strip() : ".";
    }

    /**
     * A parameter by which the guest sees more of this computer: it counts only from the command line or from
     * settings.xml, never from what lies in the project, which an agent may have written.
     *
     * @throws MojoExecutionException if a POM or a file in .mvn sets it
     */
    String onlyFromUser(String property) throws MojoExecutionException {
        File top = session.getRequest().getMultiModuleProjectDirectory();
        Path root = Sandbox.Places.real((top == null ? basedir : top).toPath());
        File settings = session.getRequest().getUserSettingsFile();
        for (Path file : Trust.dotMvn(root)) { // Maven takes some of them as if they had been typed
            if (Trust.text(file).contains(property)) {
                throw fromProject(property, file.toString());
            }
        }
        String typed = session.getUserProperties().getProperty(property);
        if (typed != null) {
            return typed;
        }
        for (Profile profile : session.getSettings().getProfiles()) {
            boolean active = session.getSettings().getActiveProfiles().contains(profile.getId())
                    || session.getRequest().getActiveProfiles().contains(profile.getId())
                    || profile.getActivation() != null && profile.getActivation().isActiveByDefault();
            if (active && profile.getProperties().getProperty(property) != null) {
                if (settings != null && Sandbox.Places.real(settings.toPath()).startsWith(root)) {
                    throw fromProject(property, settings.toString());
                }
                return profile.getProperties().getProperty(property);
            }
        }
        if (session.getCurrentProject() != null
                && session.getCurrentProject().getProperties().getProperty(property) != null) {
            throw fromProject(property, "a POM");
        }
        return null;
    }

    static MojoExecutionException fromProject(String property, String where) {
        return new MojoExecutionException(property + " in " + where
                + " does not count: it would open more between the sandbox"
                + " and this computer. It is taken from the command line (-D" + property + "=…) or from settings.xml");
    }

    /**
     * The sandbox, made or started if need be. In a build that is done once, whatever the number of its modules and
     * threads, until a goal changes the sandbox's state.
     *
     * @param proven whether one that runs is entered to prove it; false for a call that enters it by itself
     */
    Sandbox.Instance ensured(boolean proven) throws MojoExecutionException {
        synchronized (LimaMojo.class) {
            if (session.getRequest().getData().get(started()) instanceof Sandbox.Instance is) {
                return is;
            }
            Optional<Path> repository = repository();
            List<Sandbox.Instance> meant = proven || repository.isPresent() ? List.of() : meantIfLimaIsThere();
            if (meant.size() == 1 && meant.get(0).is("Running")) {
                return meant.get(0);
            }
            List<String> words = list(repository.map(r -> List.of("--no-keys", "--mount", r.toString()))
                    .orElse(List.of("--no-keys")),
                    isNamed() ? List.of("--name", target(), "--dir", root().toString()) : List.of(target()));
            if (sandbox(root(), list(words, List.of("--", "true"))) != 0) {
                throw new MojoExecutionException(
                        "the sandbox of " + root() + " could not be made or started, see above."
                                + " 'sandbox .' in a terminal tells more; mvn lima:status shows what there is");
            }
            Sandbox.Instance is = found().orElseThrow(
                    () -> new MojoExecutionException(
                            "the sandbox is gone again: somebody deleted it; the same call again"));
            session.getRequest().getData().put(started(), is);
            return is;
        }
    }

    /** The host's Maven repository, if the sandbox is to read it: never another directory that something names. */
    Optional<Path> repository() throws MojoExecutionException {
        String asked = onlyFromUser("lima.hostRepository");
        if (hostRepository && asked == null) {
            throw fromProject("lima.hostRepository", "a POM");
        }
        Path repository = Path.of(System.getenv().getOrDefault("HOME", "/"), ".m2/repository");
        if (asked == null || asked.equals("false")) {
            return Optional.empty();
        }
        if (!Files.isDirectory(repository)) {
            throw new MojoExecutionException("lima.hostRepository: there is no directory " + repository);
        }
        return Optional.of(Sandbox.Places.real(repository));
    }

    private String started() throws MojoExecutionException {
        return "lima " + target() + " " + root();
    }

    // ------------------------------------------------------------------------------------------------------ the engine

    /** What {@code jvm} is told, before a run of Maven, of the one out here; one word each. */
    List<String> jvmOptions = List.of("--outer", "" + Runtime.version().feature());

    /** This process's environment, and what it says of the JDK. */
    Map<String, String> environment() {
        Map<String, String> env = new TreeMap<>(System.getenv());
        env.put("SANDBOX_JVM", String.join("\n", jvmOptions));
        if (jdk != null) {
            env.put("SANDBOX_JDK", jdk);
        }
        if (target != null) {
            env.put("SANDBOX_TARGET", target);
        }
        return env;
    }

    private PrintWriter log() {
        return new PrintWriter(lines(getLog()::info), true);
    }

    private static InputStream stdin() {
        return new FileInputStream(FileDescriptor.in);
    }

    /** Calls {@code sandbox} with these words; our log, which is no terminal, stands for its stderr. */
    int sandbox(Path directory, List<String> words) {
        asked = null; // it may make or start one
        return Sandbox.run(new Sandbox.Host(environment(), directory, log(), log(), stdin(), "sandbox",
                Sandbox.Host.terminals() & ~4), words.toArray(String[]::new));
    }

    /** Calls {@code sandboxes VERB}, which must succeed. */
    void sandboxes(String... words) throws MojoExecutionException {
        session.getRequest().getData().remove(started());
        check(words[0], Sandboxes.run(
                new Sandboxes.Host(System.getenv(), root(), log(), log(), stdin(), "sandboxes", 0), words));
    }

    /** Calls {@code snapshot VERB}, which must succeed. */
    void snapshot(String... words) throws MojoExecutionException {
        session.getRequest().getData().remove(started());
        check("snapshot " + words[0], Snapshot.run(
                new Snapshot.Host(System.getenv(), root(), log(), log(), stdin(), "snapshot", false), words));
    }

    private static void check(String what, int code) throws MojoExecutionException {
        if (code != 0) {
            throw new MojoExecutionException(what + " failed, see above (status " + code + ")");
        }
    }

    /** A writer of which each line goes somewhere by itself. */
    static Writer lines(Consumer<String> to) {
        return new Writer() {
            private final StringBuilder line = new StringBuilder();

            @Override
            public void write(char[] chars, int from, int length) {
                synchronized (line) {
                    for (int i = from; i < from + length; i++) {
                        if (chars[i] == '\n') {
                            to.accept(line.toString());
                            line.setLength(0);
                        } else {
                            line.append(chars[i]);
                        }
                    }
                }
            }

            @Override
            public void flush() {
                // a line is written when it is whole
            }

            @Override
            public void close() {
                synchronized (line) {
                    if (line.length() > 0) {
                        to.accept(line.toString());
                        line.setLength(0);
                    }
                }
            }
        };
    }

    static List<String> list(List<String> first, List<String> then) {
        List<String> all = new ArrayList<>(first);
        all.addAll(then);
        return all;
    }
}
