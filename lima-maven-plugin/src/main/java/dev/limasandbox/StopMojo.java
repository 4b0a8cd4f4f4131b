package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.LifecyclePhase;
import org.apache.maven.plugins.annotations.Mojo;

/** Stops the project's sandbox, unless a session is open in it; a stopped one stays as it is. */
@Mojo(name = "stop", defaultPhase = LifecyclePhase.POST_INTEGRATION_TEST, requiresProject = false, threadSafe = true)
class StopMojo extends LimaMojo {
    @Override
    void work() throws MojoExecutionException {
        sandboxes("stop", target());
    }
}
