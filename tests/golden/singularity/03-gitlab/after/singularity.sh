export SINGULARITY_DOCKER_USERNAME='gitlab+deploy-token-7'
export SINGULARITY_DOCKER_PASSWORD='gldt-x_Y'
export APPTAINER_DOCKER_USERNAME='gitlab+deploy-token-7'
export APPTAINER_DOCKER_PASSWORD='gldt-x_Y'
