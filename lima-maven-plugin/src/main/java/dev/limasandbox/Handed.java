package dev.limasandbox;

import java.io.File;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.maven.execution.MavenExecutionRequest;

/**
 * What of the outer Maven's command line the inner one gets too. Never its repository, its settings and its JVM's
 * options, which are paths and wishes of another computer.
 */
record Handed(List<String> options, Set<String> leftOut) {
    private static final Set<String> OURS = Set.of("cmd", "style.color", "maven.repo.local");

    /**
     * @param whole is it the whole build, so that a selection of modules holds inside too?
     * @param forward names of user properties that are handed on
     * @param cpus of the sandbox, at most so many threads are asked for; 0: unknown
     */
    static Handed of(MavenExecutionRequest outer, boolean whole, Set<String> forward, int cpus) {
        List<String> options = new ArrayList<>();
        List<String> profiles = new ArrayList<>(outer.getActiveProfiles());
        outer.getInactiveProfiles().forEach(p -> profiles.add("!" + p));
        add(options, !profiles.isEmpty(), "-P", String.join(",", profiles));
        if (whole) {
            List<String> modules = new ArrayList<>(outer.getSelectedProjects());
            outer.getExcludedProjects().forEach(m -> modules.add("!" + m));
            String make = String.valueOf(outer.getMakeBehavior());
            add(options, !modules.isEmpty(), "-pl", String.join(",", modules));
            add(options, make.equals(MavenExecutionRequest.REACTOR_MAKE_UPSTREAM)
                    || make.equals(MavenExecutionRequest.REACTOR_MAKE_BOTH), "-am");
            add(options, make.equals(MavenExecutionRequest.REACTOR_MAKE_DOWNSTREAM)
                    || make.equals(MavenExecutionRequest.REACTOR_MAKE_BOTH), "-amd");
            add(options, outer.getResumeFrom() != null, "-rf", outer.getResumeFrom());
        }
        add(options, !outer.isRecursive(), "-N");
        add(options, outer.isOffline(), "-o");
        add(options, outer.isUpdateSnapshots(), "-U");
        add(options, outer.isShowErrors(), "-e");
        add(options, outer.getLoggingLevel() == MavenExecutionRequest.LOGGING_LEVEL_DEBUG, "-X");
        add(options, outer.getLoggingLevel() >= MavenExecutionRequest.LOGGING_LEVEL_ERROR, "-q");
        String failure = String.valueOf(outer.getReactorFailureBehavior());
        add(options, failure.equals(MavenExecutionRequest.REACTOR_FAIL_AT_END), "-fae");
        add(options, failure.equals(MavenExecutionRequest.REACTOR_FAIL_NEVER), "-fn");
        add(options, !outer.isInteractiveMode(), "-B");
        // Maven keeps the option itself to itself; this is what it makes of it, in 3.x.
        add(options, String.valueOf(outer.getTransferListener()).contains("Quiet"), "-ntp");
        File pom = outer.getPom();
        add(options, pom != null && !pom.getName().equals("pom.xml"), "-f", pom == null ? "" : pom.getName());
        int threads = outer.getDegreeOfConcurrency();
        add(options, threads > 1, "-T", "" + (cpus > 0 ? Math.min(cpus, threads) : threads));
        Properties user = outer.getUserProperties();
        String colour = user.getProperty("style.color");
        add(options, colour != null, "-Dstyle.color=" + colour);
        Set<String> leftOut = new TreeSet<>();
        for (String name : new TreeSet<>(user.stringPropertyNames())) {
            if (forward.contains(name)) {
                options.add("-D" + name + "=" + user.getProperty(name));
            } else if (!OURS.contains(name) && !name.startsWith("lima.") && !name.startsWith("session.")) {
                leftOut.add(name);
            }
        }
        return new Handed(List.copyOf(options), leftOut);
    }

    private static void add(List<String> options, boolean wanted, String... words) {
        if (wanted) {
            options.addAll(List.of(words));
        }
    }
}
